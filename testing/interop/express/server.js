// An Express application that does with its session what a request says, and shows the session.
//
// node server.js PORT OPTIONS: OPTIONS is JSON with `store` (its kind, URL and whatever else that
// kind takes), `secret` and, for each path below which there are sessions, the options of
// express-session.

const express = require('express');
const session = require('express-session');

// Each returns a function that makes stores: a store takes the options of the last middleware that
// uses it, so each middleware has its own.
const STORES = {
  async redis({ url }) {
    const { createClient } = require('redis');
    const { RedisStore } = require('connect-redis');
    const client = createClient({ url });
    client.on('error', (error) => console.error(error));
    await client.connect();
    return () => new RedisStore({ client });
  },
  async mongo({ url, cryptoSecret, ...options }) {
    const { MongoClient } = require('mongodb');
    const { MongoStore, createWebCryptoAdapter } = require('connect-mongo');
    const client = await new MongoClient(url).connect();
    if (cryptoSecret) options.cryptoAdapter = createWebCryptoAdapter({ secret: cryptoSecret });
    return () => MongoStore.create({ client, ttl: 86400, ...options });
  },
  async dynamodb({ url, region, table }) {
    const { DynamoDBClient } = require('@aws-sdk/client-dynamodb');
    const DynamoDBStore = require('connect-dynamodb')(session);
    const client = new DynamoDBClient({ endpoint: url, region });
    return () => new DynamoDBStore({ client, table });
  },
};

// What can be done with a session. Each gets the request and its arguments.
const ACTIONS = {
  set(request, path, value) {
    let place = request.session;
    for (const name of path.slice(0, -1)) place = place[name];
    place[path.at(-1)] = value;
  },
  set_date(request, name, milliseconds) {
    request.session[name] = new Date(milliseconds);
  },
  delete(request, name) {
    delete request.session[name];
  },
  max_age(request, milliseconds) {
    request.session.cookie.maxAge = milliseconds;
  },
  touch(request) {
    request.session.touch();
  },
  destroy: (request) => called(request.session, 'destroy'),
  regenerate: (request) => called(request.session, 'regenerate'),
  save: (request) => called(request.session, 'save'),
  reload: (request) => called(request.session, 'reload'),
};

function called(object, method) {
  return new Promise((resolve, reject) => {
    object[method]((error) => (error ? reject(error) : resolve()));
  });
}

function view(request) {
  if (!request.session) return { id: null };
  const { cookie, ...data } = JSON.parse(JSON.stringify(request.session));
  return { id: request.sessionID, data, cookie };
}

async function main() {
  const options = JSON.parse(process.argv[3]);
  const { kind, ...settings } = options.store;
  const makeStore = await STORES[kind](settings);
  const app = express();
  app.disable('etag');
  app.use(express.json({ limit: '10mb' }));
  for (const [path, own] of Object.entries(options.paths)) {
    app.use(path, session({ secret: options.secret, store: makeStore(), ...own }));
    app.post(path, async (request, response) => {
      for (const [name, ...given] of request.body) await ACTIONS[name](request, ...given);
      response.json(view(request));
    });
  }
  app.listen(Number(process.argv[2]), '127.0.0.1');
}

main();
