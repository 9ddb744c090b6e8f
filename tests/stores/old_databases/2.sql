PRAGMA application_id = 1128875090;
PRAGMA user_version = 2;
BEGIN TRANSACTION;
CREATE TABLE accounts (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	name TEXT NOT NULL, 
	parent_id INTEGER, 
	created_at VARCHAR(32) NOT NULL, 
	version INTEGER DEFAULT '0' NOT NULL, 
	UNIQUE (name), 
	FOREIGN KEY(parent_id) REFERENCES accounts (id)
);
INSERT INTO "accounts" VALUES(1,'acct-1',NULL,'2026-11-25T01:17:41.851089+00:00',2);
INSERT INTO "accounts" VALUES(2,'sub-1',1,'2026-11-25T01:17:41.857183+00:00',0);
INSERT INTO "accounts" VALUES(3,'acct-2',NULL,'2026-11-25T01:17:41.859805+00:00',2);
CREATE TABLE changes (
	sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	at VARCHAR(32) NOT NULL, 
	actor TEXT, 
	account TEXT NOT NULL, 
	action VARCHAR(32) NOT NULL, 
	"before" JSON NOT NULL, 
	"after" JSON NOT NULL
);
INSERT INTO "changes" VALUES(1,'2026-11-25T01:17:41.851089+00:00',NULL,'acct-1','create_account','[]','[]');
INSERT INTO "changes" VALUES(2,'2026-11-25T01:17:41.857183+00:00',NULL,'sub-1','create_account','[]','[]');
INSERT INTO "changes" VALUES(3,'2026-11-25T01:17:41.859805+00:00',NULL,'acct-2','create_account','[]','[]');
INSERT INTO "changes" VALUES(4,'2026-11-25T01:17:41.862451+00:00','alice','acct-1','add','[]','[{"id":1,"cidr":"8.8.8.0/24","label":"office","created_at":"2026-11-25T01:17:41.862451+00:00","created_by":"alice"},{"id":2,"cidr":"2606:4700::/32","label":"office","created_at":"2026-11-25T01:17:41.862451+00:00","created_by":"alice"}]');
INSERT INTO "changes" VALUES(5,'2026-11-25T01:17:41.866680+00:00','bob','acct-1','edit','[{"id":1,"cidr":"8.8.8.0/24","label":"office","created_at":"2026-11-25T01:17:41.862451+00:00","created_by":"alice"}]','[{"id":1,"cidr":"8.8.4.0/24","label":"office","created_at":"2026-11-25T01:17:41.862451+00:00","created_by":"alice"}]');
INSERT INTO "changes" VALUES(6,'2026-11-25T01:17:41.870058+00:00',NULL,'acct-2','add','[]','[{"id":3,"cidr":"1.1.1.1/32","created_at":"2026-11-25T01:17:41.870058+00:00"}]');
INSERT INTO "changes" VALUES(7,'2026-11-25T01:17:41.873560+00:00',NULL,'acct-2','remove','[{"id":3,"cidr":"1.1.1.1/32","created_at":"2026-11-25T01:17:41.870058+00:00"}]','[]');
CREATE TABLE entries (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	account_id INTEGER NOT NULL, 
	cidr TEXT NOT NULL, 
	label TEXT, 
	created_at VARCHAR(32) NOT NULL, 
	created_by TEXT, 
	expires_at VARCHAR(32), 
	UNIQUE (account_id, cidr), 
	FOREIGN KEY(account_id) REFERENCES accounts (id)
);
INSERT INTO "entries" VALUES(1,1,'8.8.4.0/24','office','2026-11-25T01:17:41.862451+00:00','alice',NULL);
INSERT INTO "entries" VALUES(2,1,'2606:4700::/32','office','2026-11-25T01:17:41.862451+00:00','alice',NULL);
CREATE TABLE facts (
	store_id VARCHAR(32) NOT NULL, 
	log_start INTEGER DEFAULT '1' NOT NULL, 
	PRIMARY KEY (store_id)
);
INSERT INTO "facts" VALUES('e021b5f7424f4000b94176e1c7f84f47',1);
CREATE INDEX ix_accounts_parent_id ON accounts (parent_id);
CREATE INDEX changes_by_account ON changes (account, sequence);
CREATE INDEX entries_by_expiry ON entries (expires_at) WHERE expires_at IS NOT NULL;
CREATE TRIGGER changes_refuse_update BEFORE UPDATE ON changes BEGIN SELECT RAISE(ABORT, 'the change log is append-only'); END;
CREATE TRIGGER changes_refuse_delete BEFORE DELETE ON changes WHEN OLD.sequence >= (SELECT log_start FROM facts) BEGIN SELECT RAISE(ABORT, 'the change log is append-only'); END;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('accounts',3);
INSERT INTO "sqlite_sequence" VALUES('changes',7);
INSERT INTO "sqlite_sequence" VALUES('entries',3);
COMMIT;
