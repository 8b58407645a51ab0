"""Which connection a statement belongs to is told from its words."""

from __future__ import annotations

import pytest

from aibind.sqlite.driver.sql import ALONE, ALONE_PRIVATE, PRIVATE, READ, WRITE, Kind, make_step


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("SELECT 1", READ),
        (" \n\t;; select 1", READ),
        ("-- DELETE\nSELECT 1", READ),
        ("--\r\nSELECT 1", READ),
        ("/* DELETE */ /**/ VALUES (1)", READ),
        ("EXPLAIN QUERY PLAN DELETE FROM t", READ),
        ("SELECT(1)", READ),
        ("SELECTED", WRITE),
        ("INSERT INTO t SELECT 1", WRITE),
        ("REPLACE INTO t VALUES (1)", WRITE),
        ("CREATE TABLE temporary (v)", WRITE),
        ("CREATE TABLE temp.t (v)", PRIVATE),
        ("CREATE TABLE IF NOT EXISTS temp.t (v)", PRIVATE),
        ("create temporary table t (v)", PRIVATE),
        ("CREATE--\nTEMP VIEW v AS SELECT 1", PRIVATE),
        ("CREATE TEMPLE", WRITE),
        ("VACUUM INTO 'x'", ALONE),
        ("pragma user_version", ALONE),
        ("ATTACH 'x' AS y", ALONE_PRIVATE),
        ("DETACH y", ALONE_PRIVATE),
        ("WITH a AS (SELECT 1) SELECT * FROM a", READ),
        ("WITH a AS (SELECT 1) VALUES (1)", READ),
        ("WITH a AS MATERIALIZED (SELECT 1), b(x) AS (VALUES (1)) SELECT * FROM a, b", READ),
        ("WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a", WRITE),
        ("WITH a AS (SELECT 1) REPLACE INTO t SELECT * FROM a", WRITE),
        ("WITH a AS (SELECT ')') DELETE FROM t", WRITE),
        ("WITH a AS (SELECT '''') UPDATE t SET v = 1", WRITE),
        ("WITH a AS (SELECT 1 /* ) SELECT */) UPDATE t SET v = 1", WRITE),
        ("WITH a AS (SELECT 1 -- ) SELECT\n) UPDATE t SET v = 1", WRITE),
        ('WITH "SELECT" AS (SELECT 1) DELETE FROM t', WRITE),
        ("WITH [SELECT] AS (SELECT 1) DELETE FROM t", WRITE),
        ("WITH `SELECT` AS (SELECT 1) DELETE FROM t", WRITE),
        ("WITH SELECTION AS (SELECT 1) DELETE FROM t", WRITE),
        ("WITH aSELECT AS (SELECT 1) DELETE FROM t", WRITE),
        ("WITH éSELECT AS (SELECT 1) DELETE FROM t", WRITE),
        ("WITH $SELECT AS (SELECT 1) DELETE FROM t", WRITE),
        ("WITH nothing more", WRITE),
        ("WITH", WRITE),
        ("§", WRITE),
        ("\u00a0SELECT 1", WRITE),
    ],
)
def test_kind(sql: str, kind: Kind) -> None:
    assert make_step(sql, ()).kind is kind


@pytest.mark.parametrize(
    "sql", ["SELECT '" + "'" * 50_000, "/*" * 50_000, "WITH " + "[" * 50_000, "WITH " + "'" * 50_001]
)
def test_odd_text_takes_no_time(sql: str) -> None:
    make_step(sql, ())
