// Keeps an open page as the server would send it now. Without it the page is
// whole, and still.
"use strict";
(() => {
  const root = document.body.dataset.root;
  // The clock of the server counts: ages are told by it.
  const ahead = Date.parse(document.body.dataset.now) - Date.now();

  // age says the same as the function of that name in format.go.
  const span = s => s < 3600 ? Math.floor(s / 60) + " min" : s < 172800 ? Math.floor(s / 3600) + " h" : Math.floor(s / 86400) + " days";
  const age = s => s < -60 ? "in " + span(-s) : s < 0 ? "in less than a minute" : s < 60 ? "just now" : span(s) + " ago";
  const tick = () => {
    for (const t of document.querySelectorAll("time[data-age]")) {
      const text = age((Date.now() + ahead - Date.parse(t.dateTime)) / 1000);
      if (t.textContent !== text) t.textContent = text;
    }
  };

  // morph makes old what fresh is, and touches nothing else: focus, selection,
  // what is folded open and what a screen reader has read stay.
  const alike = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && (a.id || "") === (b.id || "");
  const morph = (old, fresh) => {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    if (old.id === "live") return;
    const folds = old.nodeName === "DETAILS";
    for (const a of [...old.attributes]) {
      if (!fresh.hasAttribute(a.name) && !(folds && a.name === "open")) old.removeAttribute(a.name);
    }
    for (const a of fresh.attributes) {
      if (old.getAttribute(a.name) !== a.value && !(folds && a.name === "open")) old.setAttribute(a.name, a.value);
    }
    let at = old.firstChild;
    for (const want of [...fresh.childNodes]) {
      let have = at;
      if (want.nodeType === Node.ELEMENT_NODE && want.id) {
        // What has an id is found again wherever it stood.
        while (have && !alike(have, want)) have = have.nextSibling;
      } else if (have && !alike(have, want)) {
        have = null;
      }
      if (!have) {
        old.insertBefore(document.importNode(want, true), at);
        continue;
      }
      if (have !== at) old.insertBefore(have, at); else at = at.nextSibling;
      morph(have, want);
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  };

  let busy = false, again = false;
  const refresh = async () => {
    if (busy) { again = true; return; }
    busy = true;
    try {
      const answer = await fetch(location.href, {headers: {Accept: "text/html"}});
      const text = await answer.text();
      if (answer.ok || answer.status === 404) {
        const fresh = new DOMParser().parseFromString(text, "text/html");
        for (const part of ["main", "foot"]) {
          const a = document.getElementById(part), b = fresh.getElementById(part);
          if (a && b) morph(a, b);
        }
        document.title = fresh.title;
        tick();
      }
    } catch {
      // The stream says by itself that the server is gone.
    } finally {
      busy = false;
      if (again) { again = false; refresh(); }
    }
  };

  const live = document.getElementById("live");
  const say = (state, word) => {
    live.dataset.state = state;
    live.querySelector(".word").textContent = word;
  };
  let wait = 5;
  const listen = () => {
    const stream = new EventSource(root + "events");
    stream.onopen = () => {
      wait = 5;
      say("on", "live");
      // What has changed since the page was made was told to nobody.
      refresh();
    };
    stream.addEventListener("change", refresh);
    stream.onerror = () => {
      say("lost", "not live: trying again");
      if (stream.readyState !== EventSource.CLOSED) return;
      // Refused: the browser does not try again, so this does, and reads the
      // page meanwhile.
      setTimeout(listen, wait * 1000);
      wait = Math.min(60, wait * 2);
      refresh();
    };
  };
  listen();
  setInterval(tick, 20000);
})();
