// Ends with 0 when AsyncAPI’s own parser has neither an error nor a warning about a document.
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";
import { AvroSchemaParser } from "@asyncapi/avro-schema-parser";
const parser = new Parser();
parser.registerSchemaParser(AvroSchemaParser());
const { document, diagnostics } = await parser.parse(readFileSync(process.argv[2], "utf8"));
const worst = diagnostics.filter((d) => d.severity <= 1);
for (const d of worst) console.log(d.severity, d.code, d.path.join("."), d.message);
console.log(document ? `${document.channels().all().length} channels, ${document.operations().all().length} operations, ${document.messages().all().length} messages` : "no document");
process.exit(document && worst.length === 0 ? 0 : 1);
