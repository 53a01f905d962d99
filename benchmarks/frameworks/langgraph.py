"""langgraph's stores: not its agents, which are not measured here.

Its store in Redis needs modules of the server, and its searches in SQLite a Python that loads extensions.
"""

from contextlib import asynccontextmanager

from keeping import DIMENSIONS, LONG, SHORT, Keeper, postgres_dsn, turn

NAME = "langgraph"
ROLE = "peer"
TAKES = ["stores", "servers", "searches", "vectors"]
INSTALL = [
    "langgraph",
    "langgraph-checkpoint-postgres",
    "langgraph-checkpoint-sqlite",
    "numpy",
    "psycopg[binary,pool]",
]
PACKAGE = "langgraph"
IMPORT = "import langgraph"
ENV = {"LANGSMITH_TRACING": "false"}

CORPUS = ("acme", "corpus")
PART = 1000


class Vectors:
    """Its stores are given texts and ask for their vectors: these are looked up."""

    def __init__(self):
        self.known = {}
        self.query = None

    def __call__(self, texts):
        return [(self.query if text == "query" else self.known[text]).tolist() for text in texts]

    @property
    def index(self):
        return {"dims": DIMENSIONS, "embed": self, "fields": ["text"]}


def keeper_of(store, vectors=None, before=None, after=None):
    from langgraph.store.base import PutOp

    whose = {name: ("acme", "alice", name) for name in (LONG, SHORT)}
    value = turn(0)

    async def fill(name, count):
        for start in range(0, count, PART):
            numbers = range(start, min(start + PART, count))
            await store.abatch([PutOp(whose[name], f"orders/{n}", value, index=False) for n in numbers])

    async def put(name, n):
        await store.aput(whose[name], f"orders/{n}", value, index=False)

    async def get(name, n):
        return await store.aget(whose[name], f"orders/{n}")

    async def last(name, k):
        return len(await store.asearch(whose[name], limit=k))

    async def index(known):
        vectors.known = {f"{n}": vector for n, vector in enumerate(known)}
        if before:
            await before()
        for start in range(0, len(known), PART):
            numbers = range(start, min(start + PART, len(known)))
            await store.abatch([PutOp(CORPUS, f"{n}", {"text": f"{n}"}) for n in numbers])
        if after:
            await after()

    async def search(query):
        vectors.query = query
        return [int(item.key) for item in await store.asearch(CORPUS, query="query", limit=10)]

    searching = {"index": index, "search": search} if vectors else {}
    return Keeper(fill, put, get, last, **searching)


def keeper(kind, folder):
    kinds = {"memory": in_memory, "sqlite": in_sqlite, "postgres": in_postgres}
    return kinds[kind](folder) if kind in kinds else None


@asynccontextmanager
async def in_memory(folder):
    from langgraph.store.memory import InMemoryStore

    vectors = Vectors()
    yield keeper_of(InMemoryStore(index=vectors.index), vectors)


@asynccontextmanager
async def in_sqlite(folder):
    from langgraph.store.sqlite.aio import AsyncSqliteStore

    async with AsyncSqliteStore.from_conn_string(f"{folder}/store.sqlite") as store:
        await store.conn.execute("PRAGMA journal_mode=WAL")
        await store.conn.execute("PRAGMA synchronous=NORMAL")
        await store.setup()
        yield keeper_of(store)


@asynccontextmanager
async def in_postgres(folder):
    import psycopg
    from langgraph.store.postgres.aio import AsyncPostgresStore

    vectors, dsn = Vectors(), postgres_dsn()
    definition = "SELECT pg_get_indexdef('store_vectors_embedding_idx'::regclass)"

    # An index that is there before its rows takes minutes for them.
    made = []

    async def before():
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            made.append((await (await connection.execute(definition)).fetchone())[0])
            await connection.execute("DROP INDEX store_vectors_embedding_idx")

    async def after():
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            await connection.execute(made[0])
            await connection.execute("ANALYZE")

    pool = {"min_size": 1, "max_size": 10}
    async with AsyncPostgresStore.from_conn_string(dsn, pool_config=pool, index=vectors.index) as store:
        await store.setup()
        yield keeper_of(store, vectors, before, after)
