// The log of a job within its page.

import { h, show } from "../core/dom.js";
import { makeLogViewer } from "../log/viewer.js";
import { showEmpty } from "../core/notice.js";
import { findFamily } from "../core/states.js";

// Open the log of a job in a place; a job that has not begun has none yet. Returns { draw(job), close }.
export function openJobLog(place, job) {
  const body = h("div");
  let viewer = null;
  show(place, body);

  function draw(now) {
    if (viewer !== null) return;
    if (findFamily(now.state) === "waiting" && !now.start_time) {
      if (!body.firstElementChild) showEmpty(body, "It has not begun, so there is nothing to read yet. What it writes will stand here.");
      return;
    }
    viewer = makeLogViewer({ job: now.job_id, label: `job ${now.job_id}`, stream: findFamily(now.state) === "failed" ? "stderr" : "stdout" });
    show(body, viewer.node);
  }

  draw(job);
  return { draw, close: () => viewer?.close() };
}
