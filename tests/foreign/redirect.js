// Lets programs that connect to beanstalkd's own port come to another one, which
// BEANSTALKD_PORT names: so that they run as they are, and several at a time.
"use strict";

const net = require("net");

const USUAL = 11300;
const port = Number(process.env.BEANSTALKD_PORT);
const connect = net.Socket.prototype.connect;

function redirected(given) {
  if (given === USUAL) return port;
  if (Array.isArray(given)) {
    given.forEach((each, at) => { given[at] = redirected(each); });
  } else if (given !== null && typeof given === "object" && Number(given.port) === USUAL) {
    given.port = port;
  }
  return given;
}

net.Socket.prototype.connect = function (...given) {
  return connect.apply(this, given.map(redirected));
};
