// Loaded before Azurite (node --require): it never collects what its blobs left behind.
//
// Its collector (3.37.0, blob/gc, every ten minutes) sorts the index of all extents again for each that it deletes, on the
// only thread: after half a run of all suites 10,000 of them, so that no request was answered for minutes. A server of a
// test run lives shorter than it takes to fill the memory.
// Usage: node --require azurite_uncollected.cjs …/azurite/dist/src/azurite.js …

const path = require("node:path");

const constants = require(path.join(path.dirname(process.argv[1]), "blob/utils/constants.js"));
if (typeof constants.DEFAULT_GC_INTERVAL_MS !== "number") throw new Error("this Azurite has no such interval");
constants.DEFAULT_GC_INTERVAL_MS = 24 * 60 * 60 * 1000;
