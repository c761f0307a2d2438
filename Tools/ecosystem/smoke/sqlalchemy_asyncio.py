"""SQLAlchemy's asyncio session and engine: its blocking core runs in greenlets."""
import asyncio

from sqlalchemy import ForeignKey, func, select
from sqlalchemy.ext.asyncio import AsyncAttrs, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, selectinload


class Base(AsyncAttrs, DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "author"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    books: Mapped[list["Book"]] = relationship()


class Book(Base):
    __tablename__ = "book"
    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(ForeignKey("author.id"))
    title: Mapped[str]


async def main():
    engine = create_async_engine("sqlite+aiosqlite://")
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    make = async_sessionmaker(engine, expire_on_commit=False)
    async with make() as session:
        for number in range(20):
            session.add(Author(name=f"author {number}",
                               books=[Book(title=f"book {k}") for k in range(number % 4)]))
        await session.commit()
    async with make() as session:
        authors = (await session.scalars(select(Author).options(selectinload(Author.books)))).all()
        assert sum(len(author.books) for author in authors) == 30
        assert await session.scalar(select(func.count()).select_from(Book)) == 30
        author = await session.get(Author, 4)
        assert len(await author.awaitable_attrs.books) == 3
        stream = await session.stream_scalars(select(Book.title))
        assert len([title async for title in stream]) == 30
    try:
        async with engine.begin() as connection:
            await connection.exec_driver_sql("no such statement")
    except Exception as error:
        assert "syntax error" in str(error)
    else:
        raise AssertionError("no error")
    await engine.dispose()


asyncio.run(main())
