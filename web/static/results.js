// What makes a list of results quicker to use: first results at once, more of them on scrolling, arrow keys.
// Every state has an address of its own, and the server makes the same page of it without any of this.
"use strict";

const MOST_SHOWN = 480;

function ratiosOf(page) {
  for (const tile of page.querySelectorAll("[data-ratio]")) tile.style.setProperty("--ratio", tile.dataset.ratio);
}

async function pageAt(address) {
  const answer = await fetch(address, { headers: { Accept: "text/html" } });
  // Its inline style has a nonce of its own, which is none here: ratiosOf does what that would.
  const text = (await answer.text()).replace(/<style[^]*?<\/style>/g, "");
  return { ok: answer.ok, status: answer.status, page: new DOMParser().parseFromString(text, "text/html") };
}

// While the cross-modal encoder reads, the first stage's results are shown; the page of the final ones follows.
function watchAsking() {
  const form = document.querySelector("[data-ask]");
  const main = document.getElementById("content");
  let changed = false;
  form.addEventListener("submit", (event) => {
    const asked = new FormData(form);
    if (event.defaultPrevented || !asked.get("q").trim() || asked.get("to") === "captions" || asked.get("mode") === "lexical") return;
    event.preventDefault();
    busy();
    const last = new URL(form.action);
    for (const [name, value] of asked) if (value && `${name}=${value}` !== "to=images") last.searchParams.set(name, value);
    const first = new URL(last);
    first.searchParams.set("rerank", "0");
    pageAt(first).then(({ ok, page }) => {
      const found = page.getElementById("content");
      if (!ok || !found) return;
      ratiosOf(found);
      for (const part of found.querySelectorAll("[data-timing], [data-pager], .filters")) part.remove();
      changed = true;
      main.replaceChildren(...document.adoptNode(found).childNodes);
      document.body.classList.remove("start");
      document.body.classList.add("page", "settling");
      say(notice.dataset.settling);
      nameTiles();
      letSettle(true);
    }).catch(() => {}).finally(() => location.assign(last));
  });
  addEventListener("pageshow", (event) => { if (event.persisted && changed) location.reload(); });
}

function watchTheEnd() {
  const list = document.querySelector("[data-results]");
  let pager = document.querySelector("[data-pager]");
  if (!list || !pager) return;
  let fetching = false;

  async function more() {
    const next = pager.querySelector("[rel=next]");
    if (!next || fetching) return;
    fetching = true;
    pager.setAttribute("aria-busy", "true");
    const { ok, status, page } = await pageAt(next.href).catch(() => ({ ok: false, status: 0 }));
    pager.removeAttribute("aria-busy");
    if (!ok) return stopped(next, status);
    const added = [...page.querySelectorAll("[data-results] > li")];
    ratiosOf(page);
    for (const tile of added) list.append(document.adoptNode(tile));
    const following = page.querySelector("[data-pager] [rel=next]");
    if (following) next.href = following.href;
    else next.remove();
    keepAddress();
    fetching = false;
    if (following && nearTheEnd()) more();
  }

  function stopped(next, status) {
    const why = document.createElement("p");
    why.setAttribute("role", "alert");
    why.textContent = status === 410 ? pager.dataset.changed : pager.dataset.failed;
    if (status === 410) {
      const anew = new URL(location.href);
      for (const name of ["cursor", "offset", "top"]) anew.searchParams.delete(name);
      next.href = anew;
      next.textContent = pager.dataset.anew;
      next.rel = "start";
    }
    pager.prepend(why);
    watcher.disconnect();
  }

  // The address always makes the list as it stands; of a very long one, its end.
  function keepAddress() {
    const count = list.children.length;
    const start = list.start - 1;
    const address = new URL(location.href);
    address.searchParams.set("top", Math.min(count, MOST_SHOWN));
    if (count > MOST_SHOWN) {
      address.searchParams.delete("cursor");
      address.searchParams.set("offset", start + count - MOST_SHOWN);
    }
    history.replaceState(history.state, "", address);
    const said = pager.querySelector("span");
    if (said && pager.dataset.of) said.textContent = pager.dataset.of.replace("{first}", start + 1).replace("{last}", start + count);
  }

  const nearTheEnd = () => pager.getBoundingClientRect().top < innerHeight + 900;
  const watcher = new IntersectionObserver((seen) => { if (seen.some((one) => one.isIntersecting)) more(); }, { rootMargin: "900px 0px" });
  watcher.observe(pager);
  pager.addEventListener("click", (event) => {
    const link = event.target.closest("[rel=next]");
    if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) { event.preventDefault(); more(); }
  });
}

// Arrows go from photo to photo, as they lie; Enter opens, as with every link.
function watchArrows() {
  addEventListener("keydown", (event) => {
    if (event.isComposing || !event.key.startsWith("Arrow") || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const walk = document.querySelector("[data-walk]");
    const typing = event.target.closest("input, textarea, select, summary, [contenteditable]");
    if (typing && !(event.target.id === "q" && event.key === "ArrowDown")) return;
    const links = [...document.querySelectorAll("[data-open]")];
    const at = links.indexOf(document.activeElement);
    if (walk && at < 0) {
      const onward = walk.querySelector({ ArrowLeft: "[rel=prev]", ArrowRight: "[rel=next]" }[event.key] || "[none]");
      if (onward) { event.preventDefault(); onward.click(); }
      return;
    }
    const wanted = at < 0 ? (event.target.id === "q" ? links[0] : null) : neighbour(links, at, event.key);
    if (!wanted) return;
    event.preventDefault();
    wanted.focus();
    wanted.scrollIntoView({ block: "nearest" });
  });
}

function neighbour(links, at, key) {
  if (key === "ArrowLeft") return links[at - 1];
  if (key === "ArrowRight") return links[at + 1];
  const boxes = links.map((link) => link.getBoundingClientRect());
  const own = boxes[at];
  const middle = own.left + own.width / 2;
  const down = key === "ArrowDown";
  const rows = links.map((link, i) => ({ link, i, top: boxes[i].top, off: Math.abs(boxes[i].left + boxes[i].width / 2 - middle) }))
    .filter(({ top }) => (down ? top > own.top + 4 : top < own.top - 4));
  if (!rows.length) return down ? undefined : document.getElementById("q");
  const edge = down ? Math.min(...rows.map((row) => row.top)) : Math.max(...rows.map((row) => row.top));
  return rows.filter((row) => Math.abs(row.top - edge) < 4).sort((a, b) => a.off - b.off)[0].link;
}

function watchEscape() {
  addEventListener("keydown", (event) => {
    if (event.isComposing || event.key !== "Escape" || event.defaultPrevented || event.target.closest("input, details[open]")) return;
    const back = document.querySelector("[data-back]");
    if (back) back.click();
  });
  const filters = document.querySelector("[data-filters]");
  if (filters) filters.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !filters.open) return;
    event.preventDefault();
    filters.open = false;
    filters.querySelector("summary").focus();
  });
}

watchAsking();
watchTheEnd();
watchArrows();
watchEscape();
