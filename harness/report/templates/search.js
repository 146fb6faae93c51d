// Search over the names of articles, claims, pages and runs. The index is fetched at the first key.
"use strict";
(() => {
  const root = document.currentScript.dataset.root;
  const MOST = 30;
  addEventListener("DOMContentLoaded", () => {
    const form = document.querySelector("form.search");
    if (!form) return;
    form.hidden = false;
    const input = form.querySelector("input"), hits = form.querySelector("ul");
    let loading = null;
    const load = () => loading ??= new Promise((done, failed) => {
      const script = document.createElement("script");
      script.src = root + "search-index.js";
      script.onload = done;
      script.onerror = failed;
      document.head.append(script);
    });
    const show = (found, said) => {
      hits.replaceChildren(...found.map(([title, place, kind]) => {
        const item = document.createElement("li"), link = document.createElement("a");
        const small = document.createElement("small");
        link.href = root + place;
        link.textContent = title;
        small.textContent = kind;
        item.append(link, small);
        return item;
      }));
      if (!found.length && said) {
        const item = document.createElement("li");
        item.textContent = said;
        hits.append(item);
      }
      hits.hidden = !hits.childElementCount;
    };
    const search = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      if (!words.length || !globalThis.searchIndex) return show([], "");
      const found = [];
      for (const entry of globalThis.searchIndex) {
        const text = entry.join(" ").toLowerCase();
        if (!words.every(word => text.includes(word))) continue;
        const title = entry[0].toLowerCase();
        found.push([words.filter(word => title.includes(word)).length, entry]);
      }
      found.sort((one, other) => other[0] - one[0]);
      show(found.slice(0, MOST).map(each => each[1]), "nothing found");
    };
    input.addEventListener("focus", load);
    input.addEventListener("input", () => load().then(search));
    form.addEventListener("submit", event => {
      event.preventDefault();
      const first = hits.querySelector("a");
      if (first) location.href = first.href;
    });
    form.addEventListener("keydown", event => {
      if (event.key === "Escape") { show([], ""); input.focus(); return; }
      if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
      const links = [...hits.querySelectorAll("a")];
      if (!links.length) return;
      event.preventDefault();
      const at = links.indexOf(document.activeElement) + (event.key === "ArrowDown" ? 1 : -1);
      (at < 0 ? input : links[Math.min(at, links.length - 1)]).focus();
    });
  });
})();
