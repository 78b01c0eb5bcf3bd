"""
Ask every view of a warehouse that was published as Parquet, on a Sail cluster of two workers, and print the answers.

    python sail_reader.py FOLDER

FOLDER holds `lake`, the raw tables, and `views.sql`, the views in Spark's dialect, which are read as docs/scale.md shows.
One JSON object on stdout: rows by view, how many worker processes answered them, and what became of a query while one
of these was killed, and of those after it.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import sys
import threading
import time
from contextlib import redirect_stdout
from decimal import Decimal
from pathlib import Path
from typing import Any

from engines.sail_cluster import Cluster, cluster
from support.documents import READS_SPARK, blocks

WORKERS = 2
# Of some of the rows each worker reads; long enough to be killed in, by joining each linkage with many numbers.
LONG = """
    select sum(length(l.related_id) * (a.id % 7) * (b.id % 5)) as total
    from klaviyo_raw.job_linkages as l cross join range(0, 3000, 1, 4) as a cross join range(0, 100, 1, 1) as b
"""
SHORT = "select count(*) from klaviyo.jobs"
_AGAIN_SECONDS = 60.0


def main(folder: Path) -> None:
    """Start the cluster, make the tables and the views, read each of these to its end, then kill a worker."""
    os.chdir(folder)
    [shown] = (block for block in blocks("python") if READS_SPARK in block)
    with cluster(WORKERS) as running:
        spark = running.spark
        # It shows a view at the end.
        with redirect_stdout(sys.stderr):
            exec(shown, {"spark": spark})  # noqa: S102
        answers = {}
        for view in re.findall(r"VIEW klaviyo\.(\w+)", Path("views.sql").read_text(encoding="utf-8")):
            frame = spark.sql(f"select * from klaviyo.{view}")
            rows = [[plain(value) for value in row] for row in frame.collect()]
            answers[view] = {"columns": frame.columns, "rows": rows}
        count = sum(worker.poll() is None for worker in running.workers)
        json.dump({"answers": answers, "workers": count, "killed": kill_one(running)}, sys.stdout)


def kill_one(running: Cluster) -> dict[str, Any]:
    """Kill a worker while a query runs, and tell what came of it, and of the same short one before and after."""
    # Not installed where types are checked.
    from pyspark.errors import PySparkException  # type: ignore[import-not-found, unused-ignore]

    spark = running.spark
    before = spark.sql(SHORT).collect()[0][0]
    told: dict[str, Any] = {"before": before, "error": None, "refused": 0}
    is_killed = threading.Event()

    def kill() -> None:
        is_killed.set()
        running.workers[0].kill()

    timer = threading.Timer(2.0, kill)
    timer.start()
    try:
        told["long"] = plain(spark.sql(LONG).collect()[0][0])
    except PySparkException as error:
        # Which of Spark's errors it is depends on what the lost worker was about.
        told["error"] = str(error)
    told["is_killed"] = is_killed.is_set()
    timer.join()
    deadline = time.monotonic() + _AGAIN_SECONDS
    while True:
        try:
            told["after"] = spark.sql(SHORT).collect()[0][0]
            break
        except Exception:
            # Until the server misses the heart of the lost one.
            told["refused"] += 1
            if time.monotonic() > deadline:
                raise
            time.sleep(1)
    return told


def plain(value: Any) -> Any:
    """*value* as JSON has it: a decimal is a number, a time a text in UTC."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dt.datetime):
        return (value if value.tzinfo is None else value.astimezone(dt.UTC).replace(tzinfo=None)).isoformat()
    return value.isoformat() if isinstance(value, dt.date) else value


if __name__ == "__main__":
    main(Path(sys.argv[1]))
