// Observes what express-session decides: prints a row for each combination of options, of what a
// request presents, and of what its handler does, with the calls that the store got, in order, and
// whether and which cookie was sent. packages/express/tests/express-decisions.json is what it printed.

const http = require('node:http');
const session = require('express-session');
const signature = require('cookie-signature');

const ID = 'AZaz09-_AZaz09-_AZaz09-_AZaz09-_';
const SECRET = 'keyboard cat';
const MAX_AGE = 60000;

class ObservedStore extends session.Store {
  records = new Map();
  calls = [];

  get(id, done) {
    this.calls.push('get');
    const record = this.records.get(id);
    setImmediate(done, null, record === undefined ? null : JSON.parse(record));
  }

  set(id, value, done) {
    this.calls.push('set');
    this.records.set(id, JSON.stringify(value));
    setImmediate(done, null);
  }

  destroy(id, done) {
    this.calls.push('destroy');
    this.records.delete(id);
    setImmediate(done, null);
  }

  touch(id, value, done) {
    this.calls.push('touch');
    setImmediate(done, null);
  }
}

function modify(request) {
  request.session.n = (request.session.n || 0) + 1;
}

// What handlers do with the session; then they call `done`.
const ACTS = {
  none: (request, done) => done(),
  modify(request, done) {
    modify(request);
    done();
  },
  'set-same'(request, done) {
    if ('n' in request.session) request.session.n = request.session.n;
    done();
  },
  save: (request, done) => request.session.save(done),
  'modify+save'(request, done) {
    modify(request);
    request.session.save(done);
  },
  'save+modify'(request, done) {
    request.session.save(() => {
      modify(request);
      done();
    });
  },
  regenerate: (request, done) => request.session.regenerate(done),
  'regenerate+modify+save'(request, done) {
    request.session.regenerate(() => {
      modify(request);
      request.session.save(done);
    });
  },
  destroy: (request, done) => request.session.destroy(done),
  null(request, done) {
    request.session = null;
    done();
  },
  'touch()'(request, done) {
    request.session.touch();
    done();
  },
  'cookie.maxAge=5000'(request, done) {
    request.session.cookie.maxAge = 5000;
    done();
  },
  reload: (request, done) => request.session.reload(() => done()),
};

// An expired session is one that the store does not return any more.
const STATES = ['no-cookie', 'existing', 'unknown-sid', 'bad-signature', 'expired'];

async function observe(options, state, act) {
  const { maxAge, ...given } = options;
  const store = new ObservedStore();
  const cookie = maxAge ? { maxAge: MAX_AGE } : {};
  const middleware = session({ ...given, secret: SECRET, store, cookie });
  if (state === 'existing') {
    const expires = maxAge ? new Date(Date.now() + MAX_AGE) : null;
    const member = { originalMaxAge: maxAge ? MAX_AGE : null, expires, httpOnly: true, path: '/' };
    store.records.set(ID, JSON.stringify({ cookie: member, n: 1 }));
  }
  const headers = {};
  if (state !== 'no-cookie') {
    const secret = state === 'bad-signature' ? `not ${SECRET}` : SECRET;
    headers.cookie = `connect.sid=${encodeURIComponent(`s:${signature.sign(ID, secret)}`)}`;
  }
  const server = http.createServer((request, response) => {
    middleware(request, response, (error) => {
      if (error) response.writeHead(500).end();
      else ACTS[act](request, () => response.end('ok'));
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  const response = await new Promise((resolve, reject) => {
    http
      .get({ host: '127.0.0.1', port, headers, agent: false }, (answer) => {
        answer.resume().on('end', () => resolve(answer));
      })
      .on('error', reject);
  });
  server.close();
  return {
    ...options,
    state,
    act,
    ops: store.calls.join(','),
    cookie: kindOf(response.headers['set-cookie']),
    status: response.statusCode,
  };
}

function kindOf(lines) {
  if (lines === undefined) return '-';
  const [value] = lines[0].split(';');
  const id = decodeURIComponent(value).replace('connect.sid=s:', '').split('.')[0];
  return (id === ID ? 'same-id' : 'new-id') + (lines[0].includes('Expires=') ? '+exp' : '');
}

function* combinations() {
  for (const resave of [true, false])
    for (const saveUninitialized of [true, false])
      for (const rolling of [true, false])
        for (const maxAge of [true, false])
          for (const unset of ['keep', 'destroy'])
            yield { resave, saveUninitialized, rolling, maxAge, unset };
}

async function main() {
  const rows = [];
  for (const options of combinations())
    for (const state of STATES)
      for (const act of Object.keys(ACTS)) rows.push(await observe(options, state, act));
  console.log(`[\n${rows.map((row) => JSON.stringify(row)).join(',\n')}\n]`);
}

main();
