"""Rules for what database clients are told: SQL, MongoDB's JavaScript, Redis and the like."""

from __future__ import annotations

import re

import re2

from firewall.engine.shell import paths
from firewall.engine.shell.call import Call, Row, Rule, table
from firewall.engine.shell.types import Category, Finding, word_set

#: MySQL takes two dashes for a comment where a blank follows alone.
_COMMENT = re2.compile(r"(?sm)/\*!\d*|--(?:[ \t][^\n]*|$)|^\s*--[^\n]*|/\*.*?\*/")
_LITERAL = re2.compile(r"(?s)'(?:[^'\\]|''|\\.)*'")
_PLAIN_LITERAL = re2.compile(r"(?s)'(?:[^']|'')*'")
_DROP = re2.compile(
    r"(?i)(?:^|[^a-z]|\\[nrt])DROP\s+(?:TABLE|DATABASE|SCHEMA|INDEX|VIEW|MATERIALIZED\s+VIEW|USER|ROLE|FUNCTION|PROCEDURE|TRIGGER|SEQUENCE|TYPE|EXTENSION|KEYSPACE|COLUMN|TABLESPACE|OWNED|PARTITION|POLICY"
    r"|SERVER|STREAM|DOMAIN|AGGREGATE|CONSTRAINT|PUBLICATION|SUBSCRIPTION|WAREHOUSE|STAGE|COLLECTION|BUCKET|MEASUREMENT|SERIES|RETENTION\s+POLICY|DICTIONARY|FOREIGN\s+TABLE|EVENT|LOGIN|IF)\b",
)
_TRUNCATE = re2.compile(r"(?i)(?:^|[;\s(])TRUNCATE\s+(?:TABLE\s+|ONLY\s+)?[\w\"'`\[.$]+")
_DELETE = re2.compile(r"(?i)\bDELETE\s+(?:FROM\s+|\w+\s+FROM\s+)[^;]*")
_UPDATE = re2.compile(r"(?i)(?:^|[;(]|\bAS\b)\s*UPDATE\s+[\w\"`\[\].]+(?:\s+(?:AS\s+)?\w+)?\s+SET\b[^;]*")
#: What is shown and not done, to the end of the statement.
_SHOWN = re2.compile(
    r"(?i)(^|;)\s*EXPLAIN\s+(?:QUERY\s+PLAN\s+|PLAN\s+FOR\s+|VERBOSE\s+|EXTENDED\s+|FORMATTED\s+|FORMAT\s*=?\s*\w+\s+"
    r"|\((?:\s*(?:VERBOSE|COSTS|FORMAT|SETTINGS|SUMMARY)\b[^(),;\\]*,?)*\)\s*)?(?:DELETE|UPDATE|INSERT|SELECT|WITH|MERGE)\b[^;\\]*"
)
_WHERE = re.compile(r"\bWHERE\b(?!\s*\(?\s*(?:1\s*=\s*1|TRUE\b|''\s*=\s*''|1\b(?!\s*[<>=])))", re.IGNORECASE)
#: A condition that is true of every row, or spares one or two of them.
_SPARES_LITTLE = re2.compile(
    r"(?i)\bWHERE\s+\(?\s*(?:(?:\w+\.)?\w*id\s*(?:>=?\s*-?[01]\b|IS\s+NOT\s+NULL|=\s*id\b)|(?:\w+\.)?\w*(?:id|user|name|email|host|login)\s*(?:<>|!=)\s*\S+"
    r"|(?:\w+\.)?\w*(?:user|name|email|host|login)\s+NOT\s+IN\s*\([^)]*\))\s*\)?\s*(?:RETURNING\b[^;]*)?$"
)
#: Tables in which a database keeps who may use it.
_GUARD = re.compile(r"\b(?:FROM|UPDATE)\s+[`\"]?(?:mysql[`\"]?\.[`\"]?\w+|pg_(?:catalog|authid|class|database)\b|sys\.\w+)", re.IGNORECASE)
_OTHER = re2.compile(
    r"(?i)\bVACUUM\b[^;]*\bRETAIN\s+0\b|\bDATA_RETENTION_TIME_IN_DAYS\s*=\s*0\b|\bALTER\s+TABLE\b[^;]*\bDROP\b|\bREVOKE\s+ALL\b|\bGRANT\s+ALL\b[^;]*\bTO\s+PUBLIC\b|\b(?:ALTER|CREATE)\s+(?:ROLE|USER)\s+[\w\"]+\s+(?:WITH\s+)?SUPERUSER\b|\bDROP\s+OWNED\b|\bPURGE\s+(?:BINARY|MASTER)\s+LOGS\b|\bRESET\s+(?:MASTER|SLAVE)\b|\bpg_terminate_backend\b|\bxp_cmdshell\b"
    r"|\bCOPY\b[^;]*\bPROGRAM\b|\bSHUTDOWN\b|\bDELETE\s+(?:DATABASE|BUCKET)\b|\bINTO\s+(?:OUTFILE|DUMPFILE)\b|\bDETACH\s+DELETE\b|\bMATCH\s*\(\w*\s*(?::\w+)?\s*\)\s*DELETE\b|\bALTER\s+TABLE\s+[\w.`\"]+\s+DELETE\s+WHERE\s+(?:1|true|1\s*=\s*1)\s*(?:$|;)",
)
_SQL_START = re2.compile(
    r"(?is)\s*(?:\(|BEGIN\b[^;]*;|START\s+TRANSACTION\s*;|SET\b[^;]*;|USE\s+\w+\s*;|--[^\n]*\n|/\*.*?\*/)*\s*(?:DROP|TRUNCATE|DELETE\s+FROM|UPDATE|ALTER\s+TABLE|WITH|SELECT|INSERT)\s"
)
#: Quick to say no, which is the answer for nearly every command.
_SQL_LIKELY = re.compile(r"\s*(?:[(/-]|drop|truncate|delete|update|alter|with|select|insert|begin|start|set|use)", re.IGNORECASE)
MONGO = re2.compile(
    r"\.\s*(?:dropDatabase|dropIndexes?|dropUser|dropAllUsersFromDatabase|dropRole|drop|deleteMany|delete_many|drop_database|drop_collection|remove)\s*\(\s*(?:\)|\{\s*\}|['\"]|true|\{\s*writeConcern)|\bdb\.shutdownServer\s*\(|\bdb\.dropDatabase|\[['\"](?:drop|dropDatabase)['\"]\]\s*\("
    r"|\b(?:dropDatabase|shutdown)\s*:\s*1|\bdrop\s*:\s*['\"]"
)
_REDIS = re2.compile(
    r"(?i)\bredis\.p?call\s*\(\s*['\"](?:del|unlink|flush\w+|shutdown)\b|\b(?:FLUSHALL|FLUSHDB|SHUTDOWN|DEBUG\s+(?:SEGFAULT|RELOAD|FLUSHALL)|SWAPDB|CLUSTER\s+RESET|SCRIPT\s+FLUSH|ACL\s+DELUSER|CONFIG\s+SET\s+(?:dir|dbfilename|requirepass)|REPLICAOF|SLAVEOF|XGROUP\s+DESTROY|FUNCTION\s+FLUSH)\b|(?i)\b(?:DEL|UNLINK)\s+\$"
)

_OBJECTS = re2.compile(
    r"\b[A-Z]\w*(?:\.|::)(?:unscoped\.|all\.)?(?:delete_all|destroy_all|truncate)\b|\.objects\.(?:all\(\)\.)?delete\(|::query\(\)->delete\(|->truncate\(|\.query(?:\(\w*\))?\.delete\(|\.deleteMany\s*\(\s*(?:\{\s*\}\s*)?\)"
    r"|\bdrop_all\s*\(|\bdrop_database\s*\(|\.where(?:\.not)?\(\s*\w+:\s*(?:true|false|nil)\s*\)\.(?:delete|destroy)_all\b|\.where\.not\([^)]*\)\.(?:delete|destroy)_all\b"
    r"|\.\w*(?:each|map|batches)\w*\s*(?:\(\s*&:(?:destroy|delete)(?:!|_all)?\)|(?:do|\{)\s*\|\s*\w+\s*\|\s*\w+\.(?:destroy|delete)(?:!|_all)?\b)"
)
#: Statements put together and run by another.
_DYNAMIC = re2.compile(
    r"(?i)\b(?:execute(?:\s+immediate)?|exec|prepare\s+\w+\s+from|sp_executesql)\s*\(?\s*(?:format\s*\(\s*)?N?'\s*(?:drop|truncate|delete\s+from)\b"
)
_SHELL = re2.compile(r"(?:^|\s)(?:\\!|\.shell|\.system|!)\s*(.+)")

_SQL_CLIENTS = word_set(
    """
    psql pgcli mysql mariadb mycli sqlite3 sqlite sqlcmd sqlplus usql clickhouse-client clickhouse duckdb cqlsh bq snowsql snow presto trino hive beeline
    spark-sql impala-shell vsql isql isql-fb tsql cockroach litecli db2 influx hdbsql exasol arangosh cypher-shell turso wrangler supabase d1 dolt questdb
    mysqlsh execute-sql invoke-sqlcmd osqueryi
    """
)
#: Clients whose database is a file.
_OF_A_FILE = frozenset({"sqlite3", "sqlite", "duckdb", "litecli"})
#: What reaches beyond the file they are given.
_LEAVES = re2.compile(r"(?i)\battach\b|^\s*\.|\n\s*\.|\|\s*\w|\b(?:writefile|readfile|load_extension|edit|copy|export|install)\b")
_MADE = re2.compile(r"(?i)(?:['\"]\s*|\^)(?:drop|truncate|delete\s+from)\b")
_DUMPED_TO_DROP = {"pg_dump": ("-c", "--clean"), "pg_dumpall": ("-c", "--clean"), "mysqldump": ("--add-drop-database",)}
_VALUES = ("-c", "-e", "-q", "-Q", "--command", "--execute", "--query", "--eval", "-cmd", "--sql", "-s", "-exec", "-E", "-Query")


def sql(text: str) -> Finding | None:
    """A statement that drops or empties, or changes every row of a table."""
    if found := _DYNAMIC.search(text):
        return Finding(Category.DATABASE, " ".join(found.group(0).split())[:80], "drops or empties what it puts together")
    readings = [_COMMENT.sub(" ", _LITERAL.sub("''", text))]
    if "\\'" in text:
        # To some a backslash is one of the letters of a string.
        readings.append(_COMMENT.sub(" ", _PLAIN_LITERAL.sub("''", text)))
    for stripped in readings:
        if (found := _done(stripped)) and (found := _done(_SHOWN.sub(r"\1", stripped))):
            return found
    return None


def _done(stripped: str) -> Finding | None:
    """What its statements do, comments and strings taken out."""
    if found := _DROP.search(stripped):
        return Finding(Category.DATABASE, found.group(0).lstrip("\\;(,'\"` \n\t"), "drops a part of a database")
    if (found := _TRUNCATE.search(stripped)) and found.group(0).split()[-1].upper() not in ("ON", "OR"):
        return Finding(Category.DATABASE, found.group(0).strip(" ;("), "empties a table")
    for pattern, reason in ((_DELETE, "deletes every row of a table"), (_UPDATE, "changes every row of a table")):
        for found in pattern.finditer(stripped):
            if not _WHERE.search(found.group(0)):
                return Finding(Category.DATABASE, " ".join(found.group(0).split())[:80], reason)
            if guard := _GUARD.search(found.group(0)):
                return Finding(Category.DATABASE, " ".join(guard.group(0).split())[:80], "changes who may use the database")
            if pattern is _DELETE and (spared := _SPARES_LITTLE.search(found.group(0))):
                return Finding(Category.DATABASE, " ".join(spared.group(0).split())[:80], "deletes nearly every row of a table")
    if found := _OTHER.search(stripped):
        return Finding(Category.DATABASE, " ".join(found.group(0).split())[:80], "drops a part of a database or takes it over")
    return None


def statement(text: str) -> Finding | None:
    """For a text that may be SQL itself, and no shell."""
    return sql(text) if _SQL_LIKELY.match(text) and _SQL_START.match(text) else None


def client(call: Call) -> Finding | None:
    """What a SQL client is given on its command line, by a heredoc or by a pipe."""
    first = call.args[0] if call.args else ""
    if call.name in _OF_A_FILE and (first == ":memory:" or paths.temporary(first)) and not any(map(_LEAVES.search, _told(call))):
        return None
    for command in call.before if call.fed is None else ():
        name, *words = [word.rsplit("/", 1)[-1].lower() if not place else word for place, word in enumerate(command.words)] or [""]
        if drops := next((word for word in words if word in _DUMPED_TO_DROP.get(name, ())), ""):
            return Finding(Category.DATABASE, drops, "drops what it is about to restore")
        makes = name in _SQL_CLIENTS or (name == "grep" and not Call(name, words).flags & {"-v", "--invert-match"})
        if makes and (found := next(filter(None, map(_MADE.search, words)), None)):
            return Finding(Category.DATABASE, found.group(0).strip("'\"^ "), "is made a statement for every row and run")
    for text in _told(call):
        if found := sql(text):
            return found
        if (shell := _SHELL.search(text)) and (found := call.again(shell.group(1))):
            return found
    return None


def _told(call: Call) -> list[str]:
    texts = [call.fed] if call.fed else []
    for place, word in enumerate(call.args):
        before = call.args[place - 1] if place else ""
        if before in _VALUES or not word.startswith("-"):
            texts.append(word)
        else:
            texts.append(word.partition("=")[2] if word.startswith("--") else word[2:])
    # Words that were not quoted are one statement all the same.
    return [*texts, " ".join(call.args)] if len(call.args) > 2 else texts


def mongo(call: Call) -> Finding | None:
    for text in _told(call):
        if text and (found := MONGO.search(text)):
            return Finding(Category.DATABASE, found.group(0).strip(". "), "drops or empties a collection")
    return None


_REDIS_VALUED = word_set("-h -p -a -n -u -r -i -t -s -d -D -X --user --pass --cacert --cacertdir --cert --key --sni --tls-ciphers --eval --intrinsic-latency")


def redis(call: Call) -> Finding | None:
    place = 0
    while place < len(call.args) and call.args[place].startswith("-"):
        place += 2 if call.args[place] in _REDIS_VALUED else 1
    for line in [" ".join(call.args[place:]), *(call.fed or "").splitlines()]:
        # A script may hold the command anywhere, a line only where it begins.
        look = _REDIS.search if line.lower().startswith(("eval", "function", "multi")) else _REDIS.match
        if found := look(line.strip()):
            return Finding(Category.DATABASE, found.group(0), "empties or stops a store")
    return None


#: Options whose value is prose, or what is looked for.
_PROSE = frozenset(("--search", "-S", "--title", "--body", "--notes", "--message", "--description", "--comment", "--grep", "--reason"))


def objects(call: Call) -> Finding | None:
    """Programs that keep objects in a database, told to delete them all: ``rails runner 'User.delete_all'``."""
    return next(filter(None, map(deleted_objects, [*call.args, call.fed or ""])), None)


def deleted_objects(text: str) -> Finding | None:
    found = _OBJECTS.search(text)
    return Finding(Category.DATABASE, found.group(0), "deletes every row of a table") if found else None


#: Parts of the names of programs, and of what they are asked, that take SQL for a text: ``pg_format``, ``sqlfluff lint``, ``pg_query --parse``.
_TEXT_TOOLS = word_set(
    """
    format formatter fmt beautify beautifier pretty prettier prettify parse parser lint linter check checker validate validator highlight bat diff
    fingerprint normalize digest transpile convert tokenize lex ast minify escape explain fluff sqlglot squawk sqlparse sqlcheck eugene spell aspell
    llm ollama mods aichat claude codex pbcopy xclip
    """
)


def _reads(call: Call) -> bool:
    words = [call.name, *call.args[:3]]
    return not _TEXT_TOOLS.isdisjoint(part for word in words for part in re.split(r"[-_.]", word.lower()))


def sends_sql(call: Call) -> Finding | None:
    """SQL among the arguments of a program that is no client: ``aws rds-data``, ``rails runner``, ``prisma db execute``."""
    if call.name in ("gh", "glab", "hub"):
        return None
    if call.fed and not _reads(call) and (found := statement(call.fed)):
        return found
    for place, word in enumerate(call.args):
        if place and call.args[place - 1] in _PROSE:
            continue
        text = word.partition("=")[2] if word.startswith("--") else word
        if " " in text and (found := statement(text)):
            return found
    return None


def hbase(call: Call) -> Finding | None:
    found = _HBASE.search(call.fed or "")
    return Finding(Category.DATABASE, found.group(0).strip(" ;'\""), "drops or empties a table") if found else None


_HBASE = re2.compile(r"(?m)(?:^|;)\s*(?:drop|drop_all|disable_all|truncate|truncate_preserve|deleteall|drop_namespace|delete_snapshot)\s+['\"]")

RULES: dict[str, Rule] = {
    "hbase": hbase,
    **dict.fromkeys(_SQL_CLIENTS, client),
    **dict.fromkeys(("mongo", "mongosh"), mongo),
    **dict.fromkeys(("redis-cli", "valkey-cli", "keydb-cli", "dragonfly"), redis),
}
CLIENTS = frozenset(RULES)

TABLE: dict[str, tuple[Row, ...]] = table(
    Category.DATABASE,
    """
    dropdb,dropuser | deletes a database
    mysqladmin drop | deletes a database
    mariadb-admin drop | deletes a database
    mysqladmin,mariadb-admin + shutdown drop | deletes or stops a database
    pg_restore + -c --clean ! -l --list -f --file --schema-only | drops what it is about to restore
    mongorestore + --drop | drops what it is about to restore
    pg_resetwal,pg_resetxlog ! -n | throws away what was not yet written
    pg_dropcluster | deletes a database
    myisamchk,innochecksum + -f --force -o | writes over tables
    nodetool decommission | takes a node out of the cluster
    nodetool removenode | takes a node out of the cluster
    nodetool clearsnapshot | deletes backups
    nodetool assassinate | takes a node out of the cluster
    memcflush | empties a store
    influx bucket delete | deletes a bucket
    """,
)
