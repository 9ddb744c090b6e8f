#!/bin/sh
# Run once by PostgreSQL's image, on an empty database: the role of the services, which owns nothing.
# `cidrgate migrate --grant cidrgate_service` gives it what it needs.
set -eu
PGPASSWORD_OF_ROLE=$(cat /run/secrets/service_password)
export PGPASSWORD_OF_ROLE
# psql reads the password from the environment, and quotes it: it stands in no list of processes.
psql --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" <<'SQL'
\getenv password PGPASSWORD_OF_ROLE
CREATE ROLE cidrgate_service LOGIN PASSWORD :'password';
SQL
