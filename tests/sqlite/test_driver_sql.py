"""Which connection a statement belongs to is told from its words."""

from __future__ import annotations

import pytest

from aibind.sqlite.driver_sql import Kind, make_step


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("SELECT 1", Kind.READ),
        (" \n\t;; select 1", Kind.READ),
        ("-- DELETE\nSELECT 1", Kind.READ),
        ("--\r\nSELECT 1", Kind.READ),
        ("/* DELETE */ /**/ VALUES (1)", Kind.READ),
        ("EXPLAIN QUERY PLAN DELETE FROM t", Kind.READ),
        ("SELECT(1)", Kind.READ),
        ("SELECTED", Kind.WRITE),
        ("INSERT INTO t SELECT 1", Kind.WRITE),
        ("REPLACE INTO t VALUES (1)", Kind.WRITE),
        ("CREATE TABLE temporary (v)", Kind.WRITE),
        ("CREATE TABLE temp.t (v)", Kind.PRIVATE),
        ("CREATE TABLE IF NOT EXISTS temp.t (v)", Kind.PRIVATE),
        ("create temporary table t (v)", Kind.PRIVATE),
        ("CREATE--\nTEMP VIEW v AS SELECT 1", Kind.PRIVATE),
        ("CREATE TEMPLE", Kind.WRITE),
        ("VACUUM INTO 'x'", Kind.ALONE),
        ("pragma user_version", Kind.ALONE),
        ("ATTACH 'x' AS y", Kind.ALONE_PRIVATE),
        ("DETACH y", Kind.ALONE_PRIVATE),
        ("WITH a AS (SELECT 1) SELECT * FROM a", Kind.READ),
        ("WITH a AS (SELECT 1) VALUES (1)", Kind.READ),
        ("WITH a AS MATERIALIZED (SELECT 1), b(x) AS (VALUES (1)) SELECT * FROM a, b", Kind.READ),
        ("WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a", Kind.WRITE),
        ("WITH a AS (SELECT 1) REPLACE INTO t SELECT * FROM a", Kind.WRITE),
        ("WITH a AS (SELECT ')') DELETE FROM t", Kind.WRITE),
        ("WITH a AS (SELECT '''') UPDATE t SET v = 1", Kind.WRITE),
        ("WITH a AS (SELECT 1 /* ) SELECT */) UPDATE t SET v = 1", Kind.WRITE),
        ("WITH a AS (SELECT 1 -- ) SELECT\n) UPDATE t SET v = 1", Kind.WRITE),
        ('WITH "SELECT" AS (SELECT 1) DELETE FROM t', Kind.WRITE),
        ("WITH [SELECT] AS (SELECT 1) DELETE FROM t", Kind.WRITE),
        ("WITH `SELECT` AS (SELECT 1) DELETE FROM t", Kind.WRITE),
        ("WITH SELECTION AS (SELECT 1) DELETE FROM t", Kind.WRITE),
        ("WITH aSELECT AS (SELECT 1) DELETE FROM t", Kind.WRITE),
        ("WITH éSELECT AS (SELECT 1) DELETE FROM t", Kind.WRITE),
        ("WITH $SELECT AS (SELECT 1) DELETE FROM t", Kind.WRITE),
        ("WITH nothing more", Kind.WRITE),
        ("WITH", Kind.WRITE),
        ("§", Kind.WRITE),
        ("\u00a0SELECT 1", Kind.WRITE),
    ],
)
def test_kind(sql: str, kind: Kind) -> None:
    assert make_step(sql, ()).kind is kind


@pytest.mark.parametrize(
    "sql", ["SELECT '" + "'" * 50_000, "/*" * 50_000, "WITH " + "[" * 50_000, "WITH " + "'" * 50_001]
)
def test_odd_text_takes_no_time(sql: str) -> None:
    make_step(sql, ())
