// What the recipes for Node.js end with under test; the twin of reader.py.
import { createInterface } from 'node:readline';

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

// Write a value for the runner to read.
export function tell(value) {
    console.log(`@@${JSON.stringify(value)}`);
}

// Wait until the runner has published a new copy.
export async function wait() {
    await lines.next();
}
