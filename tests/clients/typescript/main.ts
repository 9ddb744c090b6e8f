// What a program does with the types of openapi-typescript and openapi-fetch: `node main.js URL TOKEN`.
import assert from "node:assert/strict";

import createClient from "openapi-fetch";

import type { components, paths } from "./schema.js";

type Problem = components["schemas"]["Problem"];

const [url, token] = process.argv.slice(2);
assert(url !== undefined && token !== undefined);

const account_name = "typescript";
const client = createClient<paths>({ baseUrl: url, headers: { Authorization: `Bearer ${token}` } });

function present<Value>(answer: { data?: Value; error?: Problem }): Value {
  assert(answer.data !== undefined, answer.error?.detail);
  return answer.data;
}

function problem(answer: { data?: unknown; error?: Problem; response: Response }, status: number): Problem {
  assert.equal(answer.response.status, status);
  assert(answer.error !== undefined);
  return answer.error;
}

const account = present(await client.POST("/v1/accounts", { body: { name: account_name } }));
assert.equal(account.entry_count, 0);

const list = { path: { account_name } };
const body = { entries: [{ cidr: "8.8.8.0/24", label: "office" }, { cidr: "2606:4700::/32" }] };
const guarded = problem(await client.POST("/v1/accounts/{account_name}/entries", { params: list, body }), 409);
assert.deepEqual([guarded.code, guarded.confirm], ["would_lock_out_caller", ["lock_out"]]);
const added = present(
  await client.POST("/v1/accounts/{account_name}/entries", {
    params: { ...list, query: { confirm: ["lock_out"] } },
    body,
  }),
);
assert.equal(added.entry_count, 2);

const { items } = present(await client.GET("/v1/accounts/{account_name}/entries", { params: list }));
const [office, ipv6] = items;
assert(office !== undefined && ipv6 !== undefined);
assert.deepEqual([office.cidr, office.label], ["8.8.8.0/24", "office"]);
assert.equal(BigInt(ipv6.address_count), 2n ** 96n);

const entry = { path: { account_name, entry_id: office.id } };
const edited = present(
  await client.PATCH("/v1/accounts/{account_name}/entries/{entry_id}", {
    params: entry,
    body: { label: "head office" },
  }),
);
assert.deepEqual([edited.after[0]?.cidr, edited.after[0]?.label], ["8.8.8.0/24", "head office"]);
const cleared = present(
  await client.PATCH("/v1/accounts/{account_name}/entries/{entry_id}", {
    params: { ...entry, header: { "if-match": edited.etag } },
    body: { label: null },
  }),
);
assert.equal(cleared.after[0]?.label, null);

const refused = problem(
  await client.POST("/v1/accounts/{account_name}/entries", {
    params: list,
    body: { cidrs: "1.1.1.0/24, 8.8.8.8" },
  }),
  422,
);
assert.equal(refused.code, "rules_broken");
assert.deepEqual(
  refused.errors.map((one) => [one.code, one.position]),
  [["invalid_format", 1]],
);

for (const [address, allowed] of [["8.8.8.8", true], ["2606:4700::1", true], ["1.1.1.1", false]] as const) {
  const check = present(
    await client.GET("/v1/accounts/{account_name}/check", { params: { ...list, query: { address } } }),
  );
  assert.equal(check.allowed, allowed);
}

const missing = problem(
  await client.GET("/v1/accounts/{account_name}", { params: { path: { account_name: "nobody" } } }),
  404,
);
assert.equal(missing.code, "account_not_found");
