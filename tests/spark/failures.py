"""From what Spark raises to error class, SQLSTATE and message.

It refuses to translate into what Databricks would say; the double does.
"""

import json
import re
import zipfile

CLASS = re.compile(r"\s*\[([A-Z][A-Z0-9_.]+)\]")
# Delta 4.4 raises some classes whose text its own lookup does not find.
UNKNOWN_CLASS = re.compile(r"Cannot find main error class '(DELTA_\w+)'")
STORED_NAME = re.compile(r"(?:`?spark_catalog`?\.)?`?(\w+?_uz_\w+?_uz_\w+)`?(?:\.`?(\w+)`?)?")
ENCODED = re.compile(r"_u([0-9a-f]{4})_")


def decode(stored):
    return ENCODED.sub(lambda code: chr(int(code.group(1), 16)), stored)


def with_public_names(text):
    """`spark_catalog`.`tenant…main…raw`.`t` as the double's users know it: `main`.`raw`.`t`."""

    def public(match):
        parts = match.group(1).split("_uz_")[1:] + ([match.group(2)] if match.group(2) else [])
        return ".".join(f"`{decode(part)}`" for part in parts)

    return STORED_NAME.sub(public, text)


class Failures:
    def __init__(self, jars):
        self.delta = {}
        for jar in jars:
            with zipfile.ZipFile(jar) as archive:
                if "error/delta-error-classes.json" in archive.namelist():
                    self.delta = json.loads(archive.read("error/delta-error-classes.json"))

    def answer(self, error):
        """The innermost throwable that has a class wins: a cast that fails inside a MERGE comes wrapped in a task's failure."""
        name, sqlstate, message = None, None, None
        for cause in self.causes(error):
            found, state, text = self.look_at(cause)
            if found and not found.startswith("_LEGACY"):
                name, sqlstate, message = found, state, text
        whole = message or str(error).split("\n\tat ")[0]
        unknown = UNKNOWN_CLASS.search(whole)
        if unknown:
            name, sqlstate = unknown.group(1), None
        if not sqlstate:
            stated = re.search(r"SQLSTATE: (\w{5})", whole)
            sqlstate = stated.group(1) if stated else self.delta.get((name or "").split(".")[0], {}).get("sqlState")
        return {"error_class": name, "sqlstate": sqlstate, "message": with_public_names(whole)}

    @staticmethod
    def causes(error):
        # Errors of execution are plain Py4JJavaErrors; those of analysis carry the throwable as their origin.
        cause = getattr(error, "java_exception", None) or getattr(error, "_origin", None)
        for _ in range(20):
            if cause is None:
                return
            yield cause
            cause = cause.getCause()

    @staticmethod
    def look_at(cause):
        text = cause.getMessage() or ""
        try:
            return cause.getCondition(), cause.getSqlState(), text
        except Exception:  # not one of Spark's own: its text may begin with a class all the same
            match = CLASS.match(text)
            return match and match.group(1), None, text
