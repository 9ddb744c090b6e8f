PRAGMA application_id = 1128875090;
PRAGMA user_version = 0;
BEGIN TRANSACTION;
CREATE TABLE accounts (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	name TEXT NOT NULL, 
	parent_id INTEGER, 
	created_at VARCHAR(32) NOT NULL, version INTEGER DEFAULT '0' NOT NULL, 
	UNIQUE (name), 
	FOREIGN KEY(parent_id) REFERENCES accounts (id)
);
INSERT INTO "accounts" VALUES(1,'acct-1',NULL,'2026-11-26T14:36:54.133816+00:00',2);
INSERT INTO "accounts" VALUES(2,'sub-1',1,'2026-11-26T14:36:54.163979+00:00',0);
INSERT INTO "accounts" VALUES(3,'acct-2',NULL,'2026-11-26T14:36:54.216993+00:00',2);
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0005');
CREATE TABLE answers (
	key_hash VARCHAR(64) NOT NULL, 
	request_hash VARCHAR(64) NOT NULL, 
	status INTEGER NOT NULL, 
	headers JSON NOT NULL, 
	body TEXT NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	PRIMARY KEY (key_hash)
);
CREATE TABLE changes (
	sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	at VARCHAR(32) NOT NULL, 
	actor TEXT, 
	account TEXT NOT NULL, 
	action VARCHAR(32) NOT NULL, 
	"before" JSON NOT NULL, 
	"after" JSON NOT NULL
);
INSERT INTO "changes" VALUES(1,'2026-11-26T14:36:54.133816+00:00',NULL,'acct-1','create_account','[]','[]');
INSERT INTO "changes" VALUES(2,'2026-11-26T14:36:54.163979+00:00',NULL,'sub-1','create_account','[]','[]');
INSERT INTO "changes" VALUES(3,'2026-11-26T14:36:54.216993+00:00',NULL,'acct-2','create_account','[]','[]');
INSERT INTO "changes" VALUES(4,'2026-11-26T14:36:54.231571+00:00','alice','acct-1','add','[]','[{"id":1,"cidr":"8.8.8.0/24","created_at":"2026-11-26T14:36:54.231571+00:00","created_by":"alice","label":"office"},{"id":2,"cidr":"2606:4700::/32","created_at":"2026-11-26T14:36:54.231571+00:00","created_by":"alice","label":"office"}]');
INSERT INTO "changes" VALUES(5,'2026-11-26T14:36:54.306613+00:00','bob','acct-1','edit','[{"id":1,"cidr":"8.8.8.0/24","created_at":"2026-11-26T14:36:54.231571+00:00","created_by":"alice","label":"office"}]','[{"id":1,"cidr":"8.8.4.0/24","created_at":"2026-11-26T14:36:54.231571+00:00","created_by":"alice","label":"office"}]');
INSERT INTO "changes" VALUES(6,'2026-11-26T14:36:54.330906+00:00',NULL,'acct-2','add','[]','[{"id":3,"cidr":"1.1.1.1/32","created_at":"2026-11-26T14:36:54.330906+00:00"}]');
INSERT INTO "changes" VALUES(7,'2026-11-26T14:36:54.343267+00:00',NULL,'acct-2','remove','[{"id":3,"cidr":"1.1.1.1/32","created_at":"2026-11-26T14:36:54.330906+00:00"}]','[]');
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
INSERT INTO "entries" VALUES(1,1,'8.8.4.0/24','office','2026-11-26T14:36:54.231571+00:00','alice',NULL);
INSERT INTO "entries" VALUES(2,1,'2606:4700::/32','office','2026-11-26T14:36:54.231571+00:00','alice',NULL);
CREATE TABLE facts (
	store_id VARCHAR(32) NOT NULL, 
	log_start INTEGER DEFAULT '1' NOT NULL, 
	PRIMARY KEY (store_id)
);
INSERT INTO "facts" VALUES('62ac7d7e488646e4b157391ea74c2c19',1);
CREATE TABLE "links" (
	secret_hash VARCHAR(64) NOT NULL, 
	name TEXT NOT NULL, 
	scopes JSON NOT NULL, 
	expires_at VARCHAR(32) NOT NULL, 
	created_by TEXT, 
	token_id INTEGER, 
	PRIMARY KEY (secret_hash), 
	CONSTRAINT links_token_id_fkey FOREIGN KEY(token_id) REFERENCES tokens (id)
);
CREATE TABLE matches (
	entry_id INTEGER NOT NULL, 
	at VARCHAR(32) NOT NULL, 
	PRIMARY KEY (entry_id), 
	FOREIGN KEY(entry_id) REFERENCES entries (id) ON DELETE CASCADE
);
INSERT INTO "matches" VALUES(1,'2026-11-26T14:36:54.357931+00:00');
CREATE TABLE sessions (
	secret_hash VARCHAR(64) NOT NULL, 
	name TEXT NOT NULL, 
	scopes JSON NOT NULL, 
	token_id INTEGER, 
	created_at VARCHAR(32) NOT NULL, 
	expires_at VARCHAR(32) NOT NULL, link_id VARCHAR(16), address TEXT, 
	PRIMARY KEY (secret_hash), 
	FOREIGN KEY(token_id) REFERENCES tokens (id)
);
CREATE TABLE tokens (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	name TEXT NOT NULL, 
	secret_hash VARCHAR(64) NOT NULL, 
	scopes JSON NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	created_by TEXT, 
	expires_at VARCHAR(32), 
	revoked_at VARCHAR(32)
);
CREATE INDEX ix_accounts_parent_id ON accounts (parent_id);
CREATE INDEX changes_by_account ON changes (account, sequence);
CREATE TRIGGER changes_refuse_update BEFORE UPDATE ON changes BEGIN SELECT RAISE(ABORT, 'the change log is append-only'); END;
CREATE INDEX entries_by_expiry ON entries (expires_at) WHERE expires_at IS NOT NULL;
CREATE TRIGGER changes_refuse_delete BEFORE DELETE ON changes WHEN OLD.sequence >= (SELECT log_start FROM facts) BEGIN SELECT RAISE(ABORT, 'the change log is append-only'); END;
CREATE INDEX ix_sessions_token_id ON sessions (token_id);
CREATE INDEX ix_sessions_expires_at ON sessions (expires_at);
CREATE INDEX ix_answers_created_at ON answers (created_at);
CREATE INDEX ix_links_token_id ON links (token_id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('accounts',3);
INSERT INTO "sqlite_sequence" VALUES('changes',7);
INSERT INTO "sqlite_sequence" VALUES('entries',3);
COMMIT;
