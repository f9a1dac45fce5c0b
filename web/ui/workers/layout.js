// Places the nodes of large graphs while the page goes on.

import { placeNodes } from "../parts/layout.js";

self.addEventListener("message", ({ data: { number, ids, edges } }) => {
  self.postMessage({ number, found: placeNodes(ids, edges) });
});
