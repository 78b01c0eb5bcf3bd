// Run the source `sources/klaviyo` as Evidence does: its connector, with the options of connection.yaml.
//
//     node evidence_check.mjs FOLDER OPTIONS
//
// The connector keeps the copy open until the last row is read; the new copy is published before that.
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import connector from '@evidence-dev/duckdb';
import { tell, wait } from './reader.mjs';

const [folder, options] = [process.argv[2], JSON.parse(process.argv[3])];

const tested = await connector.testConnection(options, folder);
if (tested !== true) throw new Error(`testConnection: ${JSON.stringify(tested)}`);
const run = await connector.getRunner(options, folder);

async function drain(result) {
    const rows = [];
    for await (const batch of result.rows()) rows.push(...batch);
    if (rows.length !== result.expectedRowCount) throw new Error(`${rows.length} rows of ${result.expectedRowCount}`);
    return rows;
}

for (const file of (await readdir(folder)).filter((name) => name.endsWith('.sql'))) {
    const rows = await drain(await run(await readFile(join(folder, file), 'utf-8'), join(folder, file), 1000));
    tell(rows.map(Object.values));
}

// A time is a date that means UTC, whatever the zone of the machine, and a count is a number.
const typed = await run('select created_at_utc, cast(created_at_utc as varchar) as text, total_count from klaviyo.jobs', 'x.sql', 1000);
const types = typed.columnTypes.map((column) => column.evidenceType).join();
if (types !== 'date,string,number') throw new Error(`types: ${types}`);
for (const { created_at_utc: time, text } of await drain(typed)) {
    const shown = time.toISOString().slice(0, 19).replace('T', ' ');
    if (shown !== text.slice(0, 19)) throw new Error(`${text} became ${shown}`);
}

const COUNT = 'select job_id from klaviyo.jobs';
const held = await run(COUNT, 'count.sql', 1000);
await wait();
tell((await drain(held)).length);
tell((await drain(await run(COUNT, 'count.sql', 1000))).length);
