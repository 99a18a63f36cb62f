// Follows the service's events and renews what the page shows. Without it every page works; it just stands still.
(function () {
  "use strict";
  var light = document.querySelector(".live");
  var waiting = false;
  var stale = false;

  function busy() {
    var active = document.activeElement;
    return document.querySelector("main details[open]") !== null ||
      (active !== null && ["INPUT", "SELECT", "BUTTON"].indexOf(active.tagName) >= 0);
  }

  async function renew() {
    if (waiting) { stale = true; return; }
    if (busy()) { return; }
    waiting = true;
    stale = false;
    try {
      var answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.ok) {
        var fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
        if (fresh !== null) { document.querySelector("main").replaceWith(fresh); }
      }
    } finally {
      setTimeout(function () { waiting = false; if (stale) { renew(); } }, 1000);
    }
  }

  if (light === null || document.querySelector("main[data-follow]") === null) { return; }
  var events = new EventSource("/v1/events");
  events.onopen = function () { light.dataset.state = "on"; light.textContent = "live"; };
  events.onerror = function () { light.dataset.state = "off"; light.textContent = "no connection"; };
  events.onmessage = renew;
  // What waits for somebody who is not there makes no event.
  setInterval(function () { if (!document.hidden) { renew(); } }, 15000);
})();
