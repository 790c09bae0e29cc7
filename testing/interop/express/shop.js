// The shop of testing/interop/peers.py, with express-session and its store in memory.
//
// node shop.js PORT SECRET

const express = require('express');
const session = require('express-session');

const [port, secret] = process.argv.slice(2);
const store = new session.MemoryStore();
const app = express();
app.disable('etag');

// The names of the keys of the store.
app.get('/keys', (request, response) => response.json(Object.keys(store.sessions)));

app.use(session({ secret, store, resave: false, saveUninitialized: false }));

// `/cart/while/theme` lets `/theme` be served before it does what `/cart` does.
app.get(['/:action', '/:action/while/:meanwhile'], async (request, response) => {
  const { action, meanwhile } = request.params;
  const own = request.session;
  if (meanwhile) {
    const headers = { cookie: request.headers.cookie };
    const other = await fetch(`http://127.0.0.1:${port}/${meanwhile}`, { headers });
    response.set('during', JSON.stringify(other.headers.getSetCookie()));
  }
  if (action === 'login') Object.assign(own, { user: 'ann', list: [] });
  if (action === 'cart' || action === 'theme') own[action] = 'here';
  if (action === 'append') own.list.push('here');
  if (action === 'logout') await new Promise((resolve) => own.destroy(resolve));
  const { cookie, ...data } = action === 'read' ? own : {};
  response.json(data);
});

app.listen(Number(port), '127.0.0.1');
