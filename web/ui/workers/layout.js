// Places the nodes of large graphs while the page goes on.

import { placeNodes } from "../parts/layout.js";

self.addEventListener("message", ({ data: { ids, edges }, ports: [port] }) => port.postMessage(placeNodes(ids, edges)));
