"""Every statement of the Databricks loader is what it claims to be, to a parser that is not ours.

The texts are the renderer's snapshots. sqlglot takes what it does not understand as an opaque command, so that parsing
alone says nothing: each statement must become the node of its first words, hold every name and literal of its text, and
write where it should. It refuses to pass over a statement that it does not know. What sqlglot cannot parse is listed with
the reason in NOT_PARSED, and an entry that it has learnt since fails the test.
"""

import glob
import logging
import os
import re
import unittest

import sqlglot
from sqlglot import exp
from sqlglot.dialects.databricks import Databricks
from sqlglot.tokens import TokenType

SNAPSHOTS = os.path.join(os.path.dirname(__file__), "..", "..", "shared", "src", "load", "databricks", "render", "snapshots")

# What the snapshots write to: the target, or a run's staging table.
TARGET = r"_lakeward_\w+|orders"
# First words, and the node they must become.
KINDS = [
    ("MERGE INTO", exp.Merge),
    ("INSERT OVERWRITE", exp.Insert),
    ("INSERT INTO", exp.Insert),
    ("COPY INTO", exp.Copy),
    ("CREATE TABLE", exp.Create),
    ("ALTER TABLE", exp.Alter),
    ("DROP TABLE", exp.Drop),
    ("DELETE FROM", exp.Delete),
    ("SELECT", exp.Select),
    ("DESCRIBE", exp.Describe),
    ("SHOW", exp.Describe),
]

# (why, what makes a statement one of these, the same without the part that is not understood)
NOT_PARSED = [
    (
        "sqlglot 30.30 knows no credential behind the folder of COPY INTO's SELECT",
        re.compile(r"^COPY INTO .*\(\s*SELECT .* WITH \(CREDENTIAL ", re.S),
        lambda sql: re.sub(r" WITH \(CREDENTIAL [^)]*\)", "", sql),
    ),
    (
        "sqlglot 30.30 knows SET TBLPROPERTIES and no UNSET",
        re.compile(r"^ALTER TABLE .* UNSET TBLPROPERTIES IF EXISTS "),
        lambda sql: re.sub(r"('[^']*')(?=[,)])", r"\1 = ''", sql.replace(" UNSET TBLPROPERTIES IF EXISTS ", " SET TBLPROPERTIES ")),
    ),
    (
        "sqlglot 30.30 takes SHOW for an opaque command: it is compared as the DESCRIBE that it resembles",
        re.compile(r"^SHOW (TBLPROPERTIES|TABLES IN) "),
        lambda sql: re.sub(r"^SHOW TABLES IN (\S+) LIKE .*", r"DESCRIBE SCHEMA \1", sql.replace("SHOW TBLPROPERTIES", "DESCRIBE TABLE")),
    ),
    (
        "sqlglot 30.30 knows no LIMIT behind a history",
        re.compile(r"^DESCRIBE HISTORY .* LIMIT "),
        lambda sql: re.sub(r" LIMIT \d+$", "", sql),
    ),
]


def statements():
    """(snapshot, statement), in the order of the files."""
    found = []
    for path in sorted(glob.glob(os.path.join(SNAPSHOTS, "*.snap"))):
        with open(path, encoding="utf-8") as file:
            _, _, body = file.read().split("---\n", 2)
        name = os.path.basename(path).removesuffix(".snap").split("__")[-1]
        # As the renderer's tests join them, and as a transaction holds them; a literal never has a line break.
        pieces = (piece.strip().removeprefix("BEGIN ATOMIC\n") for piece in body.split(";\n"))
        found += [(name, piece) for piece in pieces if piece not in ("", "END")]
    return found


def understood(sql):
    """The statement as it is compared: without what NOT_PARSED lists."""
    for _, is_one, without in NOT_PARSED:
        if is_one.search(sql):
            return without(sql)
    return sql


def parse(sql):
    """One statement. An option that sqlglot passes over is an error here, not a warning."""
    (tree,) = sqlglot.parse(sql, read="databricks", error_level=sqlglot.ErrorLevel.RAISE)
    return tree


def is_parsed(sql):
    try:
        return not isinstance(parse(sql), exp.Command)
    except sqlglot.errors.SqlglotError:
        return False


def words_of(sql):
    """Every quoted name and every literal, as the tokenizer sees them."""
    tokens = Databricks().tokenize(sql)
    names = {token.text for token in tokens if token.token_type == TokenType.IDENTIFIER}
    literals = {token.text for token in tokens if token.token_type == TokenType.STRING}
    return names, literals


def target_of(tree):
    if isinstance(tree, exp.Select):
        source = tree.find(exp.From)
        return source and source.this
    (this,) = tree.args["tables"] if isinstance(tree, exp.Drop) else (tree.this,)
    return this.this if isinstance(this, exp.Schema) else this


def asks_a_catalog(tree):
    """Who one is, a schema, or the catalog's own views: no statement about a table."""
    target = target_of(tree)
    is_schema = isinstance(tree, exp.Describe) and tree.args.get("kind") == "SCHEMA"
    return target is None or is_schema or target.db == "information_schema"


def is_ledger(tree):
    return target_of(tree).name == "_lakeward_runs"


class RenderedSql(unittest.TestCase):
    def setUp(self):
        # What sqlglot falls back to it also logs; the assertions say it better.
        logging.disable(logging.WARNING)
        self.addCleanup(logging.disable, logging.NOTSET)

    def each(self, kinds, check):
        """Calls `check` with every statement of these kinds; it is an error if there is none."""
        found = [(name, sql, parse(understood(sql))) for name, sql in statements()]
        chosen = [entry for entry in found if isinstance(entry[2], kinds)]
        self.assertTrue(chosen, f"none of {kinds} among {len(found)} statements of {SNAPSHOTS}")
        for name, sql, tree in chosen:
            with self.subTest(snapshot=name, statement=sql.splitlines()[0]):
                check(sql, tree)

    def test_every_statement_is_what_its_first_words_say(self):
        def check(sql, tree):
            kinds = [kind for words, kind in KINDS if sql.startswith(words)]
            self.assertEqual(len(kinds), 1, "a kind of statement that this test does not know: add it to KINDS")
            self.assertIs(type(tree), kinds[0])

        self.each(exp.Expression, check)

    def test_every_kind_of_load_has_a_snapshot(self):
        seen = {words for words, _ in KINDS for _, sql in statements() if sql.startswith(words)}
        self.assertEqual(seen, {words for words, _ in KINDS})

    def test_every_name_and_literal_is_in_the_tree(self):
        def check(sql, tree):
            names, literals = words_of(understood(sql))
            self.assertLessEqual(names, {name.name for name in tree.find_all(exp.Identifier)})
            # The folder behind FROM is a table to sqlglot, named by a literal.
            inside = {leaf.name for leaf in tree.find_all(exp.Literal, exp.Identifier)}
            self.assertLessEqual(literals, inside)

        self.each(exp.Expression, check)

    def test_every_statement_names_its_target_in_full(self):
        def check(_sql, tree):
            if asks_a_catalog(tree):
                return
            target = target_of(tree)
            self.assertIsInstance(target, exp.Table)
            self.assertEqual((target.catalog, target.db), ("main", "raw"))
            self.assertRegex(target.name, f"^({TARGET})$")

        self.each(exp.Expression, check)

    def test_a_merge_has_its_target_source_condition_and_every_clause(self):
        def check(sql, tree):
            into = "`_lakeward_runs` AS l" if is_ledger(tree) else "`orders` AS t"
            self.assertEqual(tree.this.sql("databricks"), f"`main`.`raw`.{into}")
            self.assertIsInstance(tree.args["using"], exp.Subquery)
            self.assertEqual(tree.args["using"].alias, "s")
            self.assertIsNotNone(tree.args["on"].find(exp.EQ if is_ledger(tree) else exp.NullSafeEQ))
            clauses = tree.args["whens"].expressions
            self.assertEqual(len(clauses), len(re.findall(r"^WHEN ", sql, re.M)))
            verbs = {exp.Update: "UPDATE", exp.Insert: "INSERT", exp.Var: "DELETE"}
            told = [verbs[type(clause.args["then"])] for clause in clauses]
            self.assertEqual(told, re.findall(r"^WHEN .* THEN (UPDATE|INSERT|DELETE)", sql, re.M))
            for clause in clauses:
                self.assertEqual(bool(clause.args["matched"]), "NOT MATCHED" not in clause.sql("databricks"))

        self.each(exp.Merge, check)

    def test_a_merge_and_an_overwrite_stand_behind_their_count_guard(self):
        def check(_sql, tree):
            if is_ledger(tree):
                return
            raised = [call for call in tree.find_all(exp.Func) if "raise_error" in call.sql("databricks").lower()]
            self.assertTrue(raised)
            self.assertIsNotNone(tree.find(exp.Count))

        self.each((exp.Merge, exp.Insert), check)

    def test_an_insert_replaces_by_name_all_of_the_table_or_a_range(self):
        def check(sql, tree):
            is_range = "REPLACE WHERE" in sql
            self.assertIs(bool(tree.args["overwrite"]), not is_range)
            self.assertEqual(bool(tree.args["where"]), is_range, "an INSERT that adds to what is there")
            self.assertIs(tree.args["by_name"], True)
            self.assertIsInstance(tree.expression, exp.Select)

        self.each(exp.Insert, check)

    def test_a_copy_names_its_files_and_casts_every_column(self):
        def check(_sql, tree):
            (source,) = tree.args["files"]
            query = source.find(exp.Select)
            self.assertIsNotNone(query)
            for column in query.find_all(exp.Column):
                self.assertIsInstance(column.parent, exp.Cast)
            options = {parameter.this.name.upper() for parameter in tree.args["params"]}
            self.assertLessEqual({"FILEFORMAT", "FILES", "FORMAT_OPTIONS", "COPY_OPTIONS"}, options)

        self.each(exp.Copy, check)

    def test_a_delete_takes_out_one_run_only(self):
        def check(_sql, tree):
            # Or none at all: whether it may delete.
            condition = tree.args["where"].this.sql("databricks")
            self.assertIn(condition, ["`_lakeward_run` = 'orders/k3f9x2ab/000042'", "FALSE"])

        self.each(exp.Delete, check)

    def test_what_is_listed_as_not_parsed_is_not_parsed(self):
        for why, is_one, without in NOT_PARSED:
            with self.subTest(why=why):
                chosen = [sql for _, sql in statements() if is_one.search(sql)]
                self.assertTrue(chosen, "no statement is one of these any more: take the entry out")
                for sql in chosen:
                    self.assertFalse(is_parsed(sql), "sqlglot has learnt it: take the entry out")
                    self.assertTrue(is_parsed(without(sql)))


if __name__ == "__main__":
    unittest.main()
