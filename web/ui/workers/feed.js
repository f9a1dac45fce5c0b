// The one stream of changes of this browser: all tabs hear it from here.

import { followFeed } from "../core/feed.js";

const ports = new Set();
let feed = null;
let last = null; // what a tab that comes later has to know: whether the stream is live, and where it began

function tellAll(message) {
  if (message.type !== "changes") last = message.type === "reset" ? { type: "live", start: message.position } : message;
  for (const port of ports) port.postMessage(message);
}

self.addEventListener("connect", ({ ports: [port] }) => {
  ports.add(port);
  port.addEventListener("message", ({ data }) => {
    if (data.type === "start") {
      feed ??= followFeed(data.url, tellAll);
      if (last) port.postMessage(last);
    } else if (data.type === "retry") {
      feed?.retry();
    } else if (data.type === "leave") {
      ports.delete(port);
      if (ports.size === 0) {
        feed?.stop();
        feed = last = null;
      }
    }
  });
  port.start();
});
