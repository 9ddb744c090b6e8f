"""Count the requests in a log that the lists of a snapshot deny, on a cluster.

spark-submit --archives cidrgate.tar.gz#python replay.py s3a://logs/2025/ --snapshot lists.snapshot --output s3a://denied/
"""

from __future__ import annotations

import argparse

from pyspark.sql import SparkSession, functions

from cidrgate.replay.spark import allows


def main() -> None:
    """Read the log, answer for each row, and write the denied pairs with their numbers of requests."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("logs", help="the folder of the log")
    parser.add_argument("--snapshot", required=True, help="a file of the driver, from `cidrgate compile`")
    parser.add_argument("--output", required=True, help="the new folder for account, address, requests as Parquet")
    parser.add_argument("--format", default="parquet", help="parquet, json, csv, orc (default: parquet)")
    parser.add_argument("--account", default="account", help="the column with accounts")
    parser.add_argument("--address", default="address", help="the column with addresses")
    options = parser.parse_args()
    spark = SparkSession.builder.appName("cidrgate").getOrCreate()
    # The name of a folder such as account=x would replace the column of the files.
    log = spark.read.option("recursiveFileLookup", "true").format(options.format).load(options.logs)
    # One row for each pair, so that each is answered once: most logs have many requests of one client.
    pairs = log.groupBy(options.account, options.address).agg(functions.count("*").alias("requests"))
    answered = allows(pairs, options.snapshot, options.account, options.address).cache()
    answered.where("NOT allowed").drop("allowed").write.parquet(options.output)
    requests, denied = answered.agg(
        functions.sum("requests"), functions.sum(functions.expr("if(allowed, 0, requests)"))
    ).first()
    print(f"{requests or 0:,} requests, {denied or 0:,} of them denied")
    spark.stop()


if __name__ == "__main__":
    main()
