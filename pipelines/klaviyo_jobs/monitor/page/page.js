// Filters the rows that the views gave, adds them up, and hands the same ones to a chart and to the table below it.
// Only counts are added up: quantiles come for each choice of account and kind, and shares are made of sums.

const read = (id) => JSON.parse(document.getElementById(id).textContent);
const contents = read("contents");
const charts = read("chart-specifications");
const element = (id) => document.getElementById(id);

const objects = ({ columns, rows }) =>
  rows.map((row) => Object.fromEntries(columns.map((column, place) => [column, row[place]])));
const data = Object.fromEntries(
  Object.entries(contents)
    .filter(([, value]) => value && value.columns)
    .map(([name, value]) => [name, objects(value)]),
);

// Words and numbers.

const count = (value) => value.toLocaleString("en-US");
const share = (value, digits = 1) => (value === null ? "" : `${(value * 100).toFixed(digits)}%`);
const seconds = (value) => (value === null ? "" : value.toLocaleString("en-US", { maximumFractionDigits: 1 }));
const time = (value) => (value === null ? "" : value.replace("T", " ").replace("Z", ""));
const plural = (number, one, many) => `${count(number)} ${number === 1 ? one : many}`;

function age(since) {
  const minutes = Math.max(0, Math.floor((Date.now() - Date.parse(since)) / 60000));
  if (minutes < 60) return `${minutes} min`;
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.floor(minutes / 1440)} d ${Math.floor((minutes % 1440) / 60)} h`;
}

// Filters.

const filters = { account: "", kind: "", from: contents.since, to: contents.until };

const inScope = (row) =>
  (!filters.account || row.account === filters.account) && (!filters.kind || row.job_kind === filters.kind);
const inRange = (day) => day >= filters.from && day <= filters.to;
const chosen = (name) => data[name].filter((row) => inScope(row) && inRange(row.day));

// Days are those of the reporting zone, as in the views. Of all ways to write a date, Sweden's is that of ISO 8601.
const calendar = new Intl.DateTimeFormat("sv-SE", { timeZone: contents.timezone, dateStyle: "short" });
const dayOf = (at) => calendar.format(new Date(at));

function days() {
  const found = [];
  for (let at = Date.parse(filters.from); at <= Date.parse(filters.to); at += 86400000) {
    found.push(new Date(at).toISOString().slice(0, 10));
  }
  return found;
}

// Sums of `columns` over the rows that have the same `key`, in the order of `keys`, or of appearance.
function sums(rows, key, columns, keys = []) {
  const groups = new Map(keys.map((name) => [name, null]));
  for (const row of rows) {
    const name = key(row);
    const sum = groups.get(name) ?? Object.fromEntries(columns.map((column) => [column, 0]));
    for (const column of columns) sum[column] += row[column];
    groups.set(name, sum);
  }
  return groups;
}

const nothing = (columns) => Object.fromEntries(columns.map((column) => [column, 0]));
const usedKinds = (rows) => contents.kinds.filter((kind) => rows.some((row) => row.job_kind === kind));
const shareOf = (failed, all) => (all ? failed / all : null);

// What each chart is drawn from, and the table below it.

const makers = {
  operations() {
    const columns = ["jobs_created", "jobs_finished", "operations_completed", "operations_failed"];
    const perDay = sums(chosen("throughput"), (row) => row.day, columns, days());
    const table = [...perDay].map(([day, sum]) => ({ day, ...(sum ?? nothing(columns)) }));
    return {
      rows: table.flatMap((row) => [
        { day: row.day, result: "succeeded", operations: row.operations_completed },
        { day: row.day, result: "failed", operations: row.operations_failed },
      ]),
      isEmpty: table.every((row) => !row.jobs_created && !row.jobs_finished),
      columns: {
        day: "day",
        jobs_created: "jobs created",
        jobs_finished: "jobs finished",
        operations_completed: "operations succeeded",
        operations_failed: "operations failed",
      },
      table: table.reverse(),
    };
  },

  failed_share() {
    const columns = ["jobs_complete", "operations_total", "operations_failed"];
    const perDay = sums(chosen("rates"), (row) => row.day, columns, days());
    const table = [...perDay].map(([day, found]) => {
      const sum = found ?? nothing(columns);
      const { operations_total: operations, operations_failed: failed } = sum;
      return { day, jobs: sum.jobs_complete, operations, failed, failed_share: shareOf(failed, operations) };
    });
    return {
      rows: [...table],
      isEmpty: table.every((row) => !row.operations),
      columns: { day: "day", jobs: "jobs", operations: "operations", failed: "failed", failed_share: "failed share" },
      table: table.reverse(),
    };
  },

  kinds() {
    const found = chosen("throughput");
    const columns = ["jobs_finished", "operations_completed", "operations_failed"];
    const perKind = sums(found, (row) => `${row.job_kind} ${row.day}`, columns);
    const table = usedKinds(found).flatMap((kind) =>
      days().map((day) => {
        const sum = perKind.get(`${kind} ${day}`) ?? nothing(columns);
        const { jobs_finished: jobs, operations_failed: failed } = sum;
        return { kind, day, jobs, operations: sum.operations_completed + failed, failed };
      }),
    );
    return {
      rows: table,
      isEmpty: !table.length,
      columns: { kind: "kind", day: "day", jobs: "jobs finished", operations: "operations", failed: "failed" },
      table: table.filter((row) => row.jobs),
    };
  },

  hours() {
    const found = chosen("hours");
    const columns = ["jobs_finished", "operations_completed", "operations_failed"];
    const perHour = sums(found, (row) => `${row.day} ${row.hour}`, columns);
    const all = days()
      .slice(-contents.hours_of_days)
      .flatMap((day) =>
        Array.from({ length: 24 }, (_, hour) => {
          const sum = perHour.get(`${day} ${hour}`) ?? nothing(columns);
          const { jobs_finished: jobs, operations_failed: failed } = sum;
          return { day, hour, jobs, operations: sum.operations_completed + failed, failed };
        }),
      );
    return {
      rows: all,
      isEmpty: !found.length,
      columns: { day: "day", hour: "hour", jobs: "jobs finished", operations: "operations", failed: "failed" },
      table: all.filter((row) => row.jobs).reverse(),
    };
  },

  latency() {
    const found = data.latency.filter(
      (row) => row.account === filters.account && row.job_kind === filters.kind && inRange(row.day),
    );
    const perDay = new Map(found.map((row) => [row.day, row]));
    return {
      rows: days().flatMap((day) =>
        ["p50", "p95", "p99"].map((quantile) => ({
          day,
          quantile,
          seconds: perDay.get(day)?.[`${quantile}_seconds`] ?? null,
        })),
      ),
      isEmpty: !found.length,
      columns: {
        day: "day",
        jobs_finished: "jobs",
        p50_seconds: "p50 s",
        p95_seconds: "p95 s",
        p99_seconds: "p99 s",
        max_seconds: "longest s",
      },
      table: found.reverse(),
    };
  },

  rates() {
    const found = chosen("rates");
    const columns = [
      "jobs_complete",
      "jobs_failed",
      "jobs_partly_failed",
      "jobs_cancelled",
      "operations_total",
      "operations_failed",
    ];
    const perKind = sums(found, (row) => row.job_kind, columns, usedKinds(found));
    const table = [...perKind].map(([kind, sum]) => {
      const failed_share = shareOf(sum.operations_failed, sum.operations_total);
      const label = `${share(failed_share)} of ${count(sum.operations_total)}`;
      return { kind, ...sum, operations: sum.operations_total, failed: sum.operations_failed, failed_share, label };
    });
    return {
      rows: table,
      isEmpty: !table.length,
      columns: {
        kind: "kind",
        jobs_complete: "jobs",
        jobs_failed: "failed",
        jobs_partly_failed: "partly failed",
        jobs_cancelled: "cancelled",
        operations: "operations",
        failed: "operations failed",
        failed_share: "failed share",
      },
      table,
    };
  },

  errors() {
    const found = chosen("errors");
    const dayBefore = new Date(Date.parse(filters.to) - 86400000).toISOString().slice(0, 10);
    // Of all days: what was there before the days that are chosen is not new.
    const known = new Map();
    for (const row of data.errors.filter(inScope)) {
      const first = row.is_older ? "" : row.day;
      if (!known.has(row.fingerprint) || first < known.get(row.fingerprint)) known.set(row.fingerprint, first);
    }
    const isNew = (fingerprint) => known.get(fingerprint) >= dayBefore;
    const perDay = new Map(days().map((day) => [day, { known: 0, new: 0 }]));
    const ranking = new Map();
    for (const row of found) {
      perDay.get(row.day)[isNew(row.fingerprint) ? "new" : "known"] += row.occurrences;
      const sum = ranking.get(row.fingerprint) ?? { errors: 0, jobs: 0, kinds: new Set(), last: "" };
      sum.errors += row.occurrences;
      sum.jobs += row.jobs;
      sum.kinds.add(row.job_kind);
      sum.last = row.day > sum.last ? row.day : sum.last;
      ranking.set(row.fingerprint, sum);
    }
    const table = [...ranking].map(([fingerprint, sum]) => ({
      errors: sum.errors,
      jobs: sum.jobs,
      first: known.get(fingerprint) || `before ${contents.since}`,
      last: sum.last,
      fingerprint,
      is_new: isNew(fingerprint),
      kinds: [...sum.kinds].join(", "),
    }));
    return {
      rows: [...perDay].flatMap(([day, sum]) =>
        ["known", "new"].map((sort) => ({ day, sort, errors: sum[sort] })),
      ),
      isEmpty: !table.length,
      columns: {
        errors: "errors",
        jobs: "jobs",
        fingerprint: "message (? stands for ids, numbers and quoted values)",
        kinds: "kinds",
        first: "first on",
        last: "last on",
      },
      table: table.sort((a, b) => b.errors - a.errors || (a.fingerprint < b.fingerprint ? -1 : 1)),
    };
  },

  events() {
    const entity = filters.kind.split("-").slice(0, -1).join("-");
    const failing = data.failing.filter(
      (row) =>
        (!filters.account || row.account === filters.account) &&
        (!filters.kind || row.entity === entity) &&
        inRange(dayOf(row.failed_utc)),
    );
    const several = new Set(data.failing.map((row) => row.account)).size > 1;
    const label = (row) => (several ? `${row.account}: ${row.external_id}` : row.external_id);
    const names = new Map(failing.slice(0, 15).map((row) => [`${row.account} ${row.related_id}`, label(row)]));
    const events = data.events
      .filter((row) => inScope(row) && inRange(dayOf(row.at_utc)) && names.has(`${row.account} ${row.related_id}`))
      .map((row) => ({
        id: names.get(`${row.account} ${row.related_id}`),
        at: row.at_utc,
        kind: row.job_kind,
        result: row.result,
        detail: row.detail ?? "",
      }));
    const order = [...names.values()];
    return {
      rows: events.sort((a, b) => order.indexOf(a.id) - order.indexOf(b.id)),
      isEmpty: !failing.length,
      columns: {
        external_id: "id",
        entity: "what",
        failures: "failures",
        failed_utc: "last failed (UTC)",
        last_detail: "last error",
      },
      table: failing.map((row) => ({ ...row, external_id: label(row), failed_utc: time(row.failed_utc) })),
    };
  },
};

// Tables.

const MOST_ROWS = 500;
const MOST_BREACHES = 12;
const MOST_OF_A_CHECK = 3;
const TEXTS = ["fingerprint", "last_detail", "text", "last_error", "kinds"];

function cell(column, value) {
  if (value === null || value === undefined) return "";
  if (column === "failed_share") return share(value);
  if (column.endsWith("_seconds")) return seconds(value);
  if (column.endsWith("_utc") && value.endsWith?.("Z")) return time(value);
  return typeof value === "number" ? count(value) : String(value);
}

function tableOf(title, columns, rows) {
  const table = document.createElement("table");
  table.createCaption().textContent = title;
  table.caption.className = "hidden";
  const heading = table.createTHead().insertRow();
  const isNumber = (column) => rows.some((row) => typeof row[column] === "number");
  for (const [column, name] of Object.entries(columns)) {
    const head = document.createElement("th");
    head.scope = "col";
    head.textContent = name;
    if (isNumber(column)) head.className = "number";
    heading.append(head);
  }
  const body = table.createTBody();
  for (const row of rows.slice(0, MOST_ROWS)) {
    const line = body.insertRow();
    for (const column of Object.keys(columns)) {
      const place = line.insertCell();
      place.textContent = cell(column, row[column]);
      if (isNumber(column)) place.className = "number";
      else if (TEXTS.includes(column)) place.className = "text";
      if (column === "fingerprint" && row.is_new) {
        const mark = document.createElement("span");
        mark.className = "new";
        mark.textContent = "new";
        place.append(" ", mark);
      }
    }
  }
  const note = document.createElement("p");
  note.className = "note";
  if (!rows.length) note.textContent = "None.";
  else if (rows.length > MOST_ROWS) note.textContent = `${count(MOST_ROWS)} of ${count(rows.length)} rows; choose less.`;
  return rows.length ? [table, note] : [note];
}

function fill(place, title, columns, rows) {
  place.replaceChildren(...tableOf(title, columns, rows));
  // What scrolls can be reached and read without a mouse.
  place.tabIndex = 0;
  place.role = "region";
  place.ariaLabel = title;
}

const show = (id, ...table) => fill(element(id), ...table);

// Charts.

const views = new Map();

function frame(chart) {
  const figure = document.createElement("figure");
  figure.className = chart.shows_table ? "chart wide" : "chart";
  figure.id = `chart-${chart.name}`;
  figure.style.margin = 0;
  figure.innerHTML =
    '<figcaption><h3></h3><p class="note"></p></figcaption><div class="drawing"></div>' +
    `<details${chart.shows_table ? " open" : ""}><summary>Table</summary><div class="table"></div></details>`;
  figure.querySelector("h3").textContent = chart.title;
  figure.querySelector(".note").textContent = chart.note;
  element(`charts-${chart.section}`).append(figure);
  return figure;
}

// So many bands of a step each; Vega-Lite would do so itself, and warn that it does.
function heightOf(spec, rows) {
  if (!spec.height.step) return spec.height;
  const { field } = (spec.layer?.[0] ?? spec).encoding.y;
  return spec.height.step * new Set(rows.map((row) => row[field])).size;
}

async function draw(chart) {
  const figure = element(`chart-${chart.name}`) ?? frame(chart);
  const drawing = figure.querySelector(".drawing");
  const made = makers[chart.name]();
  fill(figure.querySelector(".table"), `Table: ${chart.title}`, made.columns, made.table);
  views.get(chart.name)?.finalize();
  views.delete(chart.name);
  if (made.isEmpty) {
    const words = document.createElement("p");
    words.className = "nothing";
    words.textContent = "Nothing on these days.";
    drawing.replaceChildren(words);
    return;
  }
  const spec = {
    ...chart.spec,
    description: `${chart.title}. The table below has its numbers.`,
    datasets: { rows: made.rows },
    height: heightOf(chart.spec, made.rows),
  };
  views.set(
    chart.name,
    await window.vegaEmbed(drawing, spec, {
      actions: false,
      renderer: "svg",
      tooltip: { theme: "page" },
    }),
  );
}

// The state now, which the range of days does not touch.

function figures() {
  const rates = chosen("rates");
  const operations = rates.reduce((sum, row) => sum + row.operations_total, 0);
  const failed = rates.reduce((sum, row) => sum + row.operations_failed, 0);
  const finished = chosen("throughput").reduce((sum, row) => sum + row.jobs_finished, 0);
  const inProgress = data.in_progress.filter(inScope).reduce((sum, row) => sum + row.jobs_in_progress, 0);
  const limit = data.in_progress[0]?.limit_count ?? 0;
  const listings = data.freshness.filter(inScope);
  const stuck = data.stuck.filter(inScope).length;
  const oldest = listings.map((row) => row.last_complete_at_utc ?? "").sort()[0];
  const found = [
    ["Jobs finished", count(finished), "on the days chosen"],
    ["Operations failed", count(failed), `of ${count(operations)}`],
    ["Failed share", operations ? share(failed / operations) : "none", "operations failed / operations"],
    ["In progress", count(inProgress), `Klaviyo allows ${count(limit)} at a time`],
    ["Oldest listing", oldest ? age(oldest) : "none", oldest ? "since it was complete" : "never complete"],
    ["Stuck", stuck < MOST_ROWS ? count(stuck) : `${count(stuck)} or more`, "longer under way than they should be"],
  ];
  element("figures").replaceChildren(
    ...found.map(([name, value, words]) => {
      const box = document.createElement("div");
      const term = document.createElement("dt");
      const description = document.createElement("dd");
      const small = document.createElement("small");
      term.textContent = name;
      description.textContent = value;
      small.textContent = words;
      description.append(small);
      box.append(term, description);
      return box;
    }),
  );
}

function now() {
  const { check_count: checks, breach_count: breaches } = contents;
  const verdict = element("verdict");
  verdict.classList.toggle("bad", breaches > 0);
  verdict.textContent = breaches
    ? `✗ ${plural(breaches, "check needs", "checks need")} a look, of ${count(checks)}.`
    : `✓ All well: ${count(checks)} checks are within their thresholds.`;
  // Of many some for each check: what the others say is under "All checks".
  const failed = contents.checks.filter((line) => line.mark === "FAIL");
  const most = failed.length > MOST_BREACHES ? MOST_OF_A_CHECK : failed.length;
  const perCheck = new Map();
  for (const line of failed) perCheck.set(line.check, [...(perCheck.get(line.check) ?? []), line]);
  element("breaches").replaceChildren(
    ...[...perCheck].flatMap(([check, lines]) => {
      const words = lines.slice(0, most).map((line) => ` ${line.place ? `of ${line.place}: ` : ""}${line.text}`);
      if (lines.length > most) words.push(` of ${count(lines.length - most)} more: see all checks, below`);
      return words.map((text) => {
        const item = document.createElement("li");
        const name = document.createElement("b");
        name.textContent = check.replaceAll("_", " ");
        item.append(name, text);
        return item;
      });
    }),
  );
  // A page says by itself that nobody has made it anew.
  const silence = (Date.now() - Date.parse(contents.made_at)) / 1000;
  element("old").hidden = silence < contents.thresholds.listing_age_seconds;
  element("old").textContent = `✗ This page is ${age(contents.made_at)} old: what has happened since is not in it.`;
}

function tables() {
  show("checks", "All checks", { mark: "state", check: "check", place: "of", text: "found" }, contents.checks);
  show(
    "freshness",
    "Listings",
    { account: "account", job_kind: "kind", last_complete_at_utc: "last complete (UTC)", age: "age", last_error: "last error" },
    data.freshness
      .filter(inScope)
      .map((row) => ({ ...row, age: row.last_complete_at_utc ? age(row.last_complete_at_utc) : "never" })),
  );
  show(
    "in_progress",
    "Jobs in progress",
    { account: "account", job_kind: "kind", jobs_in_progress: "in progress", limit_count: "limit of all kinds" },
    data.in_progress.filter(inScope),
  );
  const stuck = data.stuck.filter(inScope);
  element("stuck-details").hidden = !stuck.length;
  show(
    "stuck",
    "Stuck jobs",
    { account: "account", job_kind: "kind", job_id: "job", status: "status", created_at_utc: "created (UTC)", age: "age" },
    stuck.map((row) => ({ ...row, age: age(row.created_at_utc) })),
  );
}

// The form, which the address keeps: a link shows what its sender saw.

function options(id, all, names) {
  element(id).replaceChildren(...[["", all], ...names.map((name) => [name, name])].map(([value, text]) => new Option(text, value)));
}

function setForm() {
  for (const name of Object.keys(filters)) element(name).value = filters[name];
}

function readAddress() {
  for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
    const known =
      name in filters &&
      (element(name).tagName === "SELECT"
        ? [...element(name).options].some((option) => option.value === value)
        : value >= contents.since && value <= contents.until);
    if (known) filters[name] = value;
  }
}

function readForm() {
  for (const name of Object.keys(filters)) filters[name] = element(name).value;
  filters.from = filters.from || contents.since;
  filters.to = filters.to || contents.until;
  if (filters.from > filters.to) [filters.from, filters.to] = [filters.to, filters.from];
  const set = Object.entries(filters).filter(
    ([name, value]) => value && !(name === "from" && value === contents.since) && !(name === "to" && value === contents.until),
  );
  history.replaceState(null, "", set.length ? `#${new URLSearchParams(set)}` : location.pathname + location.search);
}

async function render() {
  setForm();
  figures();
  tables();
  await Promise.all(charts.map(draw));
  // For who drives the page: it shows what is chosen.
  document.body.dataset.shown = JSON.stringify(filters);
}

const accounts = [...new Set(data.freshness.map((row) => row.account))].sort();
const listed = new Set([...data.freshness, ...data.throughput].map((row) => row.job_kind));
options("account", "All accounts", accounts);
options("kind", "All kinds", contents.kinds.filter((kind) => listed.has(kind)));
for (const id of ["from", "to"]) {
  element(id).min = contents.since;
  element(id).max = contents.until;
}
element("window").textContent =
  `${contents.since} to ${contents.until}, days of ${contents.timezone}` +
  (contents.days < contents.wanted_days ? `; ${contents.wanted_days} days would not fit into a page` : "");
element("made").textContent = `Made ${time(contents.made_at)} UTC by klaviyo-jobs ${contents.version}. Times are UTC.`;
readAddress();
now();
await render();
element("filters").addEventListener("change", () => {
  readForm();
  render();
});
element("filters").addEventListener("reset", () => {
  Object.assign(filters, { account: "", kind: "", from: contents.since, to: contents.until });
  history.replaceState(null, "", location.pathname + location.search);
  setTimeout(render);
});
