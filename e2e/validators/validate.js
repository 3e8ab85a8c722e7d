// SPDX-License-Identifier: Apache-2.0
// Reads lines "SCHEMA FILE DOCUMENTS" of names from standard input: each line of DOCUMENTS is a JSON document. Prints how many are valid by
// ajv, and ends with exit 1 at the first that is not.
"use strict";
const fs = require("fs"), path = require("path");
const from = (name) => require(path.join(process.cwd(), "node_modules", name));
const formats = from("ajv-formats");
for (const line of fs.readFileSync(0, "utf8").split("\n").filter(Boolean)) {
  const [name, schemaFile, documents] = line.split(" ");
  const schema = JSON.parse(fs.readFileSync(schemaFile, "utf8"));
  const Ajv = /2020-12/.test(schema.$schema) ? from("ajv/dist/2020") : /draft-04/.test(schema.$schema) ? from("ajv-draft-04") : from("ajv");
  const ajv = new (Ajv.default || Ajv)({ allErrors: true, strict: false, unicodeRegExp: false });
  (formats.default || formats)(ajv);
  const valid = ajv.compile(schema);
  if (valid({ os: 1, runs: 1 })) { console.log(name + ": the schema takes anything"); process.exit(1); }
  let n = 0;
  for (const text of fs.readFileSync(documents, "utf8").split("\n").filter(Boolean)) {
    if (!valid(JSON.parse(text))) { console.log(name, JSON.stringify(valid.errors).slice(0, 2000), text.slice(0, 500)); process.exit(1); }
    n++;
  }
  console.log(name, n);
}
