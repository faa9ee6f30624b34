// Holds sample events against what their providers publish: JSON schemas and TypeScript types. Reads `[{provider, type,
// body}]` from stdin, and writes one object `{provider, type, problems}` for each that something is published for.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import Ajv from "ajv";
import addFormats from "ajv-formats";
import ts from "typescript";

const here = dirname(fileURLToPath(import.meta.url));
const samples = JSON.parse(readFileSync(0, "utf8"));

// GitHub: the schema of exactly that event and action.
const github = createRequire(import.meta.url)("@octokit/webhooks-schemas/schema.json");
const ajv = new Ajv.default({ strict: false, allErrors: true });
addFormats.default(ajv);
ajv.addSchema(github, "github");

function againstSchema({ type, body }) {
  const [event, action] = type.split(".");
  const validate = ajv.getSchema(`github#/definitions/${event}$${action ?? "event"}`);
  if (!validate) return [`there is no schema of ${type}`];
  return validate(body) ? [] : validate.errors.map(({ instancePath, message, params }) =>
    `${instancePath} ${message} ${JSON.stringify(params)}`);
}

// Everybody else: `const event: TYPE = BODY`, as strict as the compiler is, superfluous members included.
const camel = (type) => type.split(/[._]/).map((word) => word[0].toUpperCase() + word.slice(1)).join("");
const slack = { message: 'Omit<t.GenericMessageEvent, "subtype">', "/deploy": null, unknown: null };
const discord = { APPLICATION_AUTHORIZED: "t.APIWebhookEvent", 2: "t.APIApplicationCommandInteraction",
  3: "t.APIMessageComponentInteraction" };
const published = {
  stripe: (type) => ["import t from 'stripe';", `t.${camel(type)}Event`],
  slack: (type) => ["import type * as t from '@slack/types';", type in slack ? slack[type] : `t.${camel(type)}Event`],
  discord: (type) => ["import type * as t from 'discord-api-types/v10';", `Wire<${discord[type]}>`],
  paddle: (type) => ["import type * as t from '@paddle/paddle-node-sdk';",
    `Wire<Extract<t.IEvents, { event_type: \`${type}\` }>>`],
  resend: (type) => ["import type * as t from 'resend';", `Extract<t.WebhookEventPayload, { type: "${type}" }>`],
  linear: (type) => ["import type * as t from '@linear/sdk/webhooks';",
    `Wire<t.EntityWebhookPayloadWith${type.split(".")[0]}Data>`],
};

// A type as it stands in JSON: enumerations are their values, sets of flags may be empty, and dates are text.
const WIRE = "type Wire<T> = T extends string ? `${T}` : T extends number ? T | 0 : T extends Date ? string :\n" +
  "  T extends (infer U)[] ? Wire<U>[] : T extends object ? { [K in keyof T]: Wire<T[K]> } : T;\n";

const files = new Map();
for (const sample of samples) {
  const [head, type] = published[sample.provider]?.(sample.type) ?? [];
  if (!type) continue;
  const body = sample.provider === "slack" ? sample.body.event : sample.body;
  const text = `${head}\n${type.startsWith("Wire") ? WIRE : ""}const event: ${type} = ${JSON.stringify(body, null, 1)};\nvoid event;\n`;
  files.set(join(here, `sample-${files.size}.ts`), { sample, text });
}

const options = { strict: true, noEmit: true, skipLibCheck: true, esModuleInterop: true, types: [],
  target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext };
const host = ts.createCompilerHost(options);
const { readFile, fileExists, getSourceFile } = host;
host.fileExists = (name) => files.has(name) || fileExists.call(host, name);
host.readFile = (name) => files.get(name)?.text ?? readFile.call(host, name);
host.getSourceFile = (name, ...rest) => files.has(name)
  ? ts.createSourceFile(name, files.get(name).text, ...rest) : getSourceFile.call(host, name, ...rest);
const program = ts.createProgram([...files.keys()], options, host);

const verdicts = samples.filter(({ provider }) => provider === "github")
  .map((sample) => ({ provider: sample.provider, type: sample.type, problems: againstSchema(sample) }));
for (const [name, { sample }] of files) {
  const source = program.getSourceFile(name);
  const problems = [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)]
    .map(({ messageText, start, file }) => {
      const line = file ? file.text.split("\n")[file.getLineAndCharacterOfPosition(start).line].trim() : "";
      return `${line}: ${ts.flattenDiagnosticMessageText(messageText, " ").slice(0, 600)}`;
    });
  verdicts.push({ provider: sample.provider, type: sample.type, problems });
}
process.stdout.write(JSON.stringify(verdicts));
