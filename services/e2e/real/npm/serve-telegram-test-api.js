// Serves telegram-test-api on a free loopback port, prints that port, and ends when its standard input does.
'use strict';

const TelegramServer = require('telegram-test-api');

const server = new TelegramServer({host: '127.0.0.1'});
server.config.port = 0; // the constructor takes 0 for "not given"
server.start().then(() => {
  process.stdout.write(`${server.server.address().port}\n`);
  process.stdin.resume().on('end', () => process.exit(0));
});
