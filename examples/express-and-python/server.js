// The old half of the shop: Express with express-session and connect-redis.

const express = require('express');
const session = require('express-session');
const { createClient } = require('redis');
const { RedisStore } = require('connect-redis');

const client = createClient({ url: process.env.REDIS_URL });
client.on('error', (error) => console.error(error));

const app = express();
app.set('trust proxy', 'loopback');
app.use(express.json());
app.use(
  session({
    secret: process.env.SESSION_SECRET,
    store: new RedisStore({ client }),
    cookie: { maxAge: 24 * 3600 * 1000, sameSite: 'lax', secure: 'auto' },
    resave: false,
    saveUninitialized: false,
  }),
);

app.get('/', (request, response) => {
  const { user, cart = [], views = 0 } = request.session;
  if (user) request.session.views = views + 1;
  response.json({ served_by: 'Express', user: user ?? null, cart });
});

app.post('/login', (request, response, next) => {
  const { cart } = request.session;
  request.session.regenerate((error) => {
    if (error) return next(error);
    request.session.user = request.body.user;
    if (cart) request.session.cart = cart;
    request.session.save((error) => (error ? next(error) : response.redirect('/')));
  });
});

app.post('/logout', (request, response, next) => {
  request.session.destroy((error) => (error ? next(error) : response.redirect('/')));
});

client.connect().then(() => app.listen(Number(process.env.PORT), '127.0.0.1'));
