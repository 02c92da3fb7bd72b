// What a node-postgres program does, one named step after another; prints one JSON object of name -> outcome. The tests judge.
// Run as: node visit.js read|write, with PG_URL, PG_CA (a file) and PG_APPLICATION in the environment.
'use strict'

const fs = require('fs')
const { Client, Pool } = require('pg')
const Cursor = require('pg-cursor')
const QueryStream = require('pg-query-stream')

const LARGE = "SELECT g, repeat('x', 200) FROM generate_series(1, 40000) g"
const ENDLESS = 'SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b'
const INSERT = "INSERT INTO scratch VALUES (1, 'node', 'no')"

const settings = {
  connectionString: process.env.PG_URL,
  ssl: { ca: fs.readFileSync(process.env.PG_CA, 'utf8') },
  application_name: 'node'
}
const outcomes = {}

async function step(name, run, more = {}) {
  const client = new Client({ ...settings, ...more })
  try {
    await client.connect()
    outcomes[name] = await run(client)
  } catch (failure) {
    outcomes[name] = `failed: ${failure.code} ${failure.message}`
  } finally {
    await client.end()
  }
}

async function value(client, text, values) {
  return Object.values((await client.query(text, values)).rows[0])[0]
}

async function refused(client, ...query) {
  try {
    await client.query(...query)
    return 'NOT REFUSED'
  } catch (failure) {
    return failure.code
  }
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}

async function read() {
  await step('select', (c) => value(c, "SELECT 'hello'"))
  await step('channel binding', (c) => value(c, "SELECT 'hello'"), { enableChannelBinding: true })
  const tls = `sslmode=verify-full&sslrootcert=${encodeURIComponent(process.env.PG_CA)}`
  await step('all in the URL', (c) => value(c, "SELECT 'hello'"), { connectionString: `${process.env.PG_URL}?${tls}`, ssl: undefined })
  await step('parameters', (c) => value(c, 'SELECT $1::int + 1', [41]))
  await step('denial', async (c) => [await refused(c, INSERT), await value(c, "SELECT 'still here'")])
  await step('denial with parameters', async (c) => {
    const code = await refused(c, "INSERT INTO scratch VALUES ($1, 'node')", [1])
    return [code, await value(c, "SELECT 'still here'")]
  })
  await step('denial among queued queries', async (c) => {
    const all = await Promise.allSettled([c.query('SELECT 1'), c.query(INSERT), c.query('SELECT $1::int', [2])])
    return all.map((one) => one.status)
  })
  await step('hint and place', async (c) => {
    const failure = await c.query(INSERT).catch((caught) => caught)
    return [failure.severity, failure.position, failure.hint.includes(':rw')]
  })
  await step('aborted transaction', async (c) => {
    await c.query('BEGIN')
    const codes = [await refused(c, INSERT), await refused(c, 'SELECT 1')]
    await c.query('ROLLBACK')
    return [...codes, await value(c, "SELECT 'after'")]
  })
  await step('named statement', async (c) => {
    let sum = 0
    for (let use = 0; use < 10; use++) {
      sum += (await c.query({ name: 'twice', text: 'SELECT $1::int * 2 AS n', values: [use] })).rows[0].n
    }
    return [sum, await refused(c, { name: 'write', text: INSERT }), await value(c, "SELECT 'after'")]
  })
  await step('types', async (c) => {
    const { rows } = await c.query({
      text: 'SELECT words, amount, big, bytes, docb, doc, numbers, names, instant, feeling, home FROM every_type WHERE id = $1',
      values: [1]
    })
    return { ...rows[0], bytes: rows[0].bytes.toString('hex') }
  })
  await step('round trip', async (c) => {
    const sent = [true, 7, 'Grüße', Buffer.from([0, 255]), new Date('2024-02-29T12:00:00Z'), { a: 1 }, [1, null], null]
    const text = 'SELECT $1::bool, $2::int, $3::text, $4::bytea, $5::timestamptz, $6::jsonb, $7::int[], $8::text'
    const row = (await c.query({ text, values: sent, rowMode: 'array' })).rows[0]
    return JSON.stringify(row) === JSON.stringify(sent)
  })
  await step('binary', async (c) => (await c.query({ text: 'SELECT 7::int AS n', binary: true })).rows[0].n)
  await step('large result', async (c) => (await c.query(LARGE)).rowCount)
  await step('cursor', async (c) => {
    const cursor = c.query(new Cursor(LARGE))
    const first = (await cursor.read(100)).length
    await cursor.close()
    return [first, await value(c, "SELECT 'after'")]
  })
  await step('query stream', async (c) => {
    let rows = 0
    for await (const _ of c.query(new QueryStream(LARGE, [], { batchSize: 500 }))) rows++
    return rows
  })
  await step('cancel', async (c) => {
    const query = new (require('pg').Query)(ENDLESS)
    const ended = new Promise((resolve) => {
      query.on('error', (failure) => resolve(failure.code))
      query.on('end', () => resolve('NOT ENDED'))
    })
    c.query(query)
    await pause(300)
    const canceller = new Client(settings)
    canceller.cancel(c, query)
    return [await ended, await value(c, "SELECT 'after'")]
  })
  await step('statement timeout', (c) => refused(c, ENDLESS), { statement_timeout: 300 })
  await step('several statements at once', async (c) => [(await c.query('SELECT 1; SELECT 2')).length, await refused(c, 'SELECT 1; ' + INSERT)])
  const pool = new Pool({ ...settings, max: 4 })
  const counts = await Promise.all(Array.from({ length: 40 }, () => pool.query('SELECT count(*)::int AS n FROM accounts')))
  outcomes.pool = new Set(counts.map((result) => result.rows[0].n)).size
  await pool.end()
  await step('not in the clear', () => 'NOT REFUSED', { ssl: false })
  await step('wrong certificate authority', () => 'NOT REFUSED', { ssl: true })
}

async function write() {
  await step('insert', async (c) => (await c.query("INSERT INTO scratch VALUES ($1, 'node', $2)", [10, 'inserted'])).rowCount)
  await step('update', (c) => value(c, "UPDATE scratch SET note = 'set' WHERE client = 'node' AND id = 10 RETURNING note"))
  await step('roll back', async (c) => {
    await c.query('BEGIN')
    await c.query("DELETE FROM scratch WHERE client = 'node'")
    return (await c.query('ROLLBACK')).command
  })
  await step('notify', async (c) => {
    const heard = new Promise((resolve) => c.on('notification', (note) => resolve(note.payload)))
    await c.query('LISTEN node')
    await c.query("NOTIFY node, 'hello'")
    return heard
  })
}

const part = process.argv[2] === 'write' ? write : read
part().then(() => process.stdout.write(JSON.stringify(outcomes)))
