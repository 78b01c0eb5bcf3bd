"""
Ask every view of a warehouse that was published as Parquet, on a Sail cluster of two workers, and print the answers.

    python sail_reader.py FOLDER STATEMENTS

FOLDER holds the raw tables, STATEMENTS the views in Spark's dialect. One JSON object on stdout: rows by view.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any


def main(folder: Path, statements: Path) -> None:
    """Start the cluster, make the tables and the views, and read each of these to its end."""
    os.environ |= {"SAIL_MODE": "local-cluster", "SAIL_CLUSTER__WORKER_INITIAL_COUNT": "2"}
    # Not installed where types are checked.
    from pysail.spark import SparkConnectServer  # type: ignore[import-not-found, unused-ignore]
    from pyspark.sql import SparkSession  # type: ignore[import-not-found, unused-ignore]

    server = SparkConnectServer(port=0)
    server.start(background=True)
    _, port = server.listening_address
    spark = SparkSession.builder.remote(f"sc://127.0.0.1:{port}").getOrCreate()
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    spark.sql("create schema klaviyo_raw")
    for table in sorted(each for each in folder.iterdir() if each.is_dir()):
        spark.sql(f"create table klaviyo_raw.{table.name} using parquet location '{table}'")
    answers = {}
    for statement in statements.read_text(encoding="utf-8").split(";\n\n"):
        if statement.strip():
            spark.sql(statement)
        if view := re.search(r"VIEW klaviyo\.(\w+)", statement):
            frame = spark.sql(f"select * from klaviyo.{view[1]}")
            rows = [[plain(value) for value in row] for row in frame.collect()]
            answers[view[1]] = {"columns": frame.columns, "rows": rows}
    json.dump(answers, sys.stdout)
    spark.stop()
    server.stop()


def plain(value: Any) -> Any:
    """*value* as JSON has it: a decimal is a number, a time a text in UTC."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dt.datetime):
        return (value if value.tzinfo is None else value.astimezone(dt.UTC).replace(tzinfo=None)).isoformat()
    return value.isoformat() if isinstance(value, dt.date) else value


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
