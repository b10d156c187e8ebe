"use strict";
// The page: one table of runs; figures drawn from its rows; one run pointed at, one kept, one filter for all.
(() => {
  const payload = JSON.parse(document.getElementById("payload").textContent);
  const columns = payload.columns, rows = payload.rows;
  const byName = new Map(columns.map((column) => [column.name, column]));
  const SVG = 1500; // dots of a trace that are drawn without WebGL
  const NARROW = 560; // pixels of a figure whose words are kept short
  const CROWD = 400; // dots that are drawn smaller, without an edge
  const ROW = 28; // pixels
  const PRINTED = 300; // rows

  // ---- cells -------------------------------------------------------------------------------------------
  const count = (v) => {
    for (const [size, unit] of [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "k"]])
      if (Math.abs(Number(v.toPrecision(3))) >= size) return Number((v / size).toPrecision(3)) + unit;
    return String(Number(v.toPrecision(3)));
  };
  const power = (v) => (v === 0 ? "0" : v.toExponential(2).replace(/\.?0+e/, "e").replace("e+", "e"));
  const number = (v) => {
    const size = Math.abs(v);
    return size !== 0 && (size < 1e-3 || size >= 1e6) ? power(v) : String(Number(v.toPrecision(5)));
  };
  const loss = (v) => (Math.abs(v) < 10 ? v.toFixed(4) : number(v));
  const percent = (v) => (v > 0 ? "+" : v < 0 ? "−" : "") + Math.abs(v).toFixed(2);
  const FORMS = { count, power, number, loss, percent };
  const raw = (column, row) => (column.kind === "text" ? column.words[column.values[row]] : column.values[row]);
  const shown = (column, row) => {
    const value = raw(column, row);
    return value === null ? "" : column.kind === "text" ? value : FORMS[column.kind](value);
  };
  const cell = (name, row) => (byName.has(name) ? shown(byName.get(name), row) : "");
  const escaped = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const label = (row) => cell("label", row);
  const facts = (row) =>
    ["N", "D", "C", "loss", "law", "residual"]
      .filter((name) => cell(name, row) !== "")
      .map((name) => (name === "residual" ? `${cell(name, row)} %` : `${name} ${cell(name, row)}`));
  const hover = (row) => {
    if (row === null) return "";
    const said = facts(row), lines = [];
    for (let i = 0; i < said.length; i += 3) lines.push(said.slice(i, i + 3).join(" · "));
    return `<b>${escaped(label(row))}</b><br>${lines.join("<br>")}`;
  };

  // ---- what is pointed at, kept, and left by the filter ------------------------------------------------
  const state = { here: null, kept: null, rows: null, only: null };
  const watchers = [];
  const changed = (what) => watchers.forEach((watcher) => watcher(what));
  const point = (row) => {
    if (state.here === row) return;
    state.here = row;
    changed("here");
  };
  const keep = (row, scroll) => {
    state.kept = state.kept === row ? null : row;
    changed("kept");
    if (scroll && state.kept !== null) table.reveal(row);
  };

  // ---- colours of the theme ----------------------------------------------------------------------------
  let palette = {};
  const readPalette = () => {
    const style = getComputedStyle(document.documentElement);
    const names = ["paper", "panel", "ink", "soft", "muted", "grid", "edge", "accent", "band", "faint", "scale", "sans"];
    palette = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
    palette.scale = palette.scale.split(/\s+/);
  };
  const mixed = (at) => {
    const stops = palette.scale, place = Math.min(Math.max(at, 0), 1) * (stops.length - 1);
    const i = Math.min(Math.floor(place), stops.length - 2), part = place - i;
    const rgb = (hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));
    const [a, b] = [rgb(stops[i]), rgb(stops[i + 1])];
    return `rgb(${a.map((v, k) => Math.round(v + (b[k] - v) * part)).join(",")})`;
  };
  const settled = (value, rowsOf) => {
    if (Array.isArray(value)) return value.map((one) => settled(one, rowsOf));
    if (value !== null && typeof value === "object")
      return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, settled(one, rowsOf)]));
    if (typeof value !== "string" || value[0] !== "@") return value;
    const [name, argument] = value.slice(1).split(":");
    if (name === "at") return mixed(Number(argument));
    if (name === "scale") return palette.scale.map((colour, i, all) => [i / (all.length - 1), colour]);
    if (name === "log") return rowsOf.map((row) => Math.log10(byName.get(argument).values[row]));
    return palette[name];
  };

  // ---- figures -----------------------------------------------------------------------------------------
  const charts = new Map(payload.charts.map((chart) => [chart.name, { ...chart, drawn: false, gl: false }]));
  let printing = false;

  const traceOf = (spec) => {
    const { rows: places, run, ...rest } = spec;
    const trace = settled(rest, places);
    trace.type = "scatter";
    if (places) {
      for (const axis of ["x", "y"])
        if (typeof spec[axis] === "string") trace[axis] = places.map((row) => byName.get(spec[axis]).values[row]);
      trace.customdata = places;
      trace.text = places.map(hover);
      trace.hovertemplate = "%{text}<extra></extra>";
      if (places.length > SVG && !printing) trace.type = "scattergl";
      if (state.rows) trace.selectedpoints = places.flatMap((row, i) => (state.rows.has(row) ? [i] : []));
      trace.unselected = { marker: { opacity: 0.07 } };
      if (places.length > CROWD)
        trace.marker = { opacity: 0.75, ...trace.marker, size: Math.min(trace.marker.size, places.length > SVG ? 4 : 5.5), line: { width: 0 } };
    } else if (run !== undefined) {
      trace.customdata = trace.x.map(() => run);
      trace.text = hover(run);
      if (state.rows && !state.rows.has(run)) trace.opacity = 0.05;
    }
    return trace;
  };

  // Ticks of a logarithmic axis between two powers of ten: the coarsest of these that gives enough.
  const TICKS = [[1], [1, 3], [1, 2, 5], [1, 2, 3, 4, 5, 6, 7, 8, 9]];
  const ticksOf = ([low, high], wanted) => {
    const decades = Array.from({ length: Math.max(0, Math.ceil(high) - Math.floor(low) + 1) }, (_, i) => Math.floor(low) + i);
    const within = (values) => values.filter((v) => Math.log10(v) >= low - 1e-9 && Math.log10(v) <= high + 1e-9);
    for (const leads of TICKS) {
      const values = within(decades.flatMap((power) => leads.map((lead) => lead * 10 ** power)));
      if (leads.length === 1 && values.length > wanted + 2) {
        const step = Math.ceil(values.length / wanted);
        return values.filter((_, i) => i % step === 0);
      }
      if (values.length >= Math.max(2, Math.min(4, wanted - 2)) && values.length <= wanted + 2) return values;
    }
    const [a, b] = [10 ** low, 10 ** high], rough = (b - a) / wanted, size = 10 ** Math.floor(Math.log10(rough));
    const step = size * [1, 2, 2.5, 5, 10].find((lead) => lead * size >= rough);
    const values = [];
    for (let k = Math.ceil(a / step); k * step <= b; k++) values.push(Number((k * step).toPrecision(12)));
    return values;
  };
  const raised = (v) => {
    const power = Math.floor(Math.log10(v) + 1e-9), lead = Number((v / 10 ** power).toPrecision(4));
    return `${lead === 1 ? "" : `${lead}×`}10<sup>${power}</sup>`;
  };
  const ticked = (axis, range, pixels) => {
    const tickvals = ticksOf(range, Math.max(3, Math.min(7, Math.floor(pixels / (axis.form === "power" ? 80 : 62)))));
    return { tickvals, ticktext: tickvals.map(axis.form === "power" ? raised : FORMS[axis.form]) };
  };
  // What an axis has to show of its traces, with some air; in powers of ten where it is logarithmic.
  const rangeOf = (way, name, traces, log) => {
    let [low, high] = [Infinity, -Infinity];
    const take = (v) => {
      if (v === null || !Number.isFinite(v) || (log && v <= 0)) return;
      low = Math.min(low, v);
      high = Math.max(high, v);
    };
    for (const trace of traces.filter((one) => (one[`${way}axis`] || way) === name))
      trace[way].forEach((v, i) => {
        take(v);
        const error = trace[`error_${way}`];
        if (error && v !== null) [v + (error.array[i] ?? 0), v - (error.arrayminus[i] ?? 0)].forEach(take);
      });
    if (low > high) return undefined;
    if (log) [low, high] = [Math.log10(low), Math.log10(high)];
    const air = (high - low) * 0.045 || (log ? 0.1 : Math.abs(high) * 0.1 || 1);
    return [low - air, high + air];
  };

  const layoutOf = (chart, traces, place) => {
    const layout = settled(chart.layout), [wide, high] = [place.clientWidth, place.clientHeight];
    const narrow = wide < NARROW, named = traces.filter((trace) => trace.name && trace.showlegend !== false).length;
    const legend = 19 * (narrow ? named : Math.ceil(named / 3.5)) + 6;
    const bar = traces.flatMap((trace) => (trace.marker && trace.marker.showscale ? [trace.marker.colorbar] : []))[0];
    const margin = bar ? { l: 62, r: 18, t: 44, b: 60 + legend } : { l: 62, r: 18, t: 12, b: 48 };
    const plot = high - margin.t - margin.b;
    if (bar) {
      const every = Math.ceil(bar.tickvals.length / Math.max(2, Math.floor((wide * bar.len) / 52)));
      [bar.tickvals, bar.ticktext] = [bar.tickvals, bar.ticktext].map((all) => all.filter((_, i) => i % every === 0));
      layout.annotations = [{ text: bar.title.text, xref: "paper", x: 1 - bar.len - 0.015, xanchor: "right", yref: "paper", y: 1 + 37 / plot, yanchor: "middle", showarrow: false, font: { size: 12 } }];
      delete bar.title;
    }
    const line = { linecolor: palette.edge, gridcolor: palette.grid, zerolinecolor: palette.muted, tickcolor: palette.edge };
    for (const key of Object.keys(layout).filter((name) => /^[xy]axis/.test(name))) {
      layout[key] = { zeroline: false, showline: true, ticks: "outside", ticklen: 4, automargin: true, ...line, ...layout[key] };
      const axis = layout[key], way = key[0], name = key.replace("axis", "");
      if (narrow && axis.brief !== undefined) axis.title = { text: axis.brief };
      delete axis.brief;
      if (way === "y") axis.title = { standoff: 8, ...axis.title };
      axis.range = axis.range || (axis.matches ? undefined : rangeOf(way, name, traces, axis.type === "log"));
      if (axis.form) {
        const [begin, end] = axis.domain || [0, 1];
        Object.assign(axis, ticked(axis, axis.range, way === "x" ? (end - begin) * (wide - 90) : high - 120));
        delete axis.form;
      }
    }
    return {
      ...layout,
      font: { family: palette.sans, size: 12.5, color: palette.ink },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      margin,
      legend: {
        orientation: "h", x: 0, font: { size: 12 }, itemsizing: "constant", bgcolor: "rgba(0,0,0,0)",
        ...(bar ? { y: -58 / plot, yanchor: "top" } : { y: 1.01, yanchor: "bottom" }),
      },
      hovermode: "closest", showlegend: true,
      hoverlabel: { bgcolor: palette.panel, bordercolor: palette.edge, align: "left", font: { family: palette.sans, size: 12.5, color: palette.ink } },
      dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    };
  };

  const CONFIG = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"], toImageButtonOptions: { format: "svg" } };

  const element = (chart) => document.querySelector(`[data-chart="${CSS.escape(chart.name)}"]`);
  const draw = (chart) => {
    const place = element(chart), traces = chart.traces.map(traceOf);
    const extra = place.clientWidth < NARROW ? 19 * traces.filter((trace) => trace.name && trace.showlegend !== false).length : 0;
    place.style.height = `${chart.height + extra}px`; // for a legend of one column
    chart.gl = traces.some((trace) => trace.type === "scattergl");
    chart.marks = traces.map((trace) => (trace.customdata ? trace : null));
    const first = !chart.drawn;
    chart.drawn = true;
    const done = Plotly.react(place, traces, layoutOf(chart, traces, place), CONFIG);
    if (first) {
      place.on("plotly_hover", (event) => point(rowOf(event)));
      place.on("plotly_unhover", () => point(null));
      place.on("plotly_click", (event) => rowOf(event) !== null && keep(rowOf(event), true));
      place.on("plotly_afterplot", () => ring(chart));
      place.on("plotly_relayout", (event) => retick(chart, place, event));
    }
    place.dataset.drawn = "yes";
    return done;
  };
  // After a zoom, ticks of logarithmic axes for what is in sight.
  const retick = (chart, place, event) => {
    const fresh = {};
    for (const [key, axis] of Object.entries(chart.layout))
      if (axis.form && Object.keys(event).some((name) => name.startsWith(`${key}.range`))) {
        const now = place._fullLayout[key];
        const ticks = ticked(axis, now.range, now._length);
        [fresh[`${key}.tickvals`], fresh[`${key}.ticktext`]] = [ticks.tickvals, ticks.ticktext];
      }
    if (Object.keys(fresh).length) Plotly.relayout(place, fresh);
  };
  const rowOf = (event) => {
    const found = event.points[0].customdata;
    return typeof found === "number" ? found : null;
  };
  const forget = (chart) => {
    Plotly.purge(element(chart));
    chart.drawn = false;
    delete element(chart).dataset.drawn;
  };

  // Rings are elements of their own above a figure: moving one draws nothing again.
  const ring = (chart) => {
    const place = element(chart);
    place.querySelectorAll(".ring").forEach((old) => old.remove());
    if (!chart.drawn || !place._fullLayout) return;
    for (const [row, kind] of [[state.kept, "kept"], [state.here, "here"]]) {
      if (row === null) continue;
      for (const trace of chart.marks) {
        const i = trace && trace.mode === "markers" ? trace.customdata.indexOf(row) : -1;
        if (i < 0) continue;
        const [x, y] = ["x", "y"].map((way) => place._fullLayout[(trace[`${way}axis`] || way).replace(way, `${way}axis`)]);
        const [left, top] = [x._offset + x.d2p(trace.x[i]), y._offset + y.d2p(trace.y[i])];
        if (!(left >= x._offset && left <= x._offset + x._length && top >= y._offset && top <= y._offset + y._length)) continue;
        const mark = document.createElement("div");
        mark.className = `ring ${kind}`;
        mark.style.left = `${left}px`;
        mark.style.top = `${top}px`;
        place.append(mark);
      }
    }
  };

  const drawn = () => [...charts.values()].filter((chart) => chart.drawn);
  let redrawing = 0;
  watchers.push((what) => {
    if (what !== "rows") return drawn().forEach(ring);
    clearTimeout(redrawing); // the table answers first
    redrawing = setTimeout(() => drawn().forEach(draw), 30);
  });

  const near = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        const chart = charts.get(entry.target.dataset.chart);
        if (entry.isIntersecting && !chart.drawn) draw(chart);
        else if (!entry.isIntersecting && chart.drawn && chart.gl) forget(chart); // browsers keep few WebGL contexts
      }
    },
    { rootMargin: "600px 0px" },
  );

  // ---- the table: only the rows in sight are elements --------------------------------------------------
  const table = (() => {
    const box = document.getElementById("table"), head = box.querySelector("thead"), body = box.querySelector("tbody");
    const tools = { search: document.getElementById("search"), shown: document.getElementById("shown"), card: document.getElementById("card") };
    const place = { name: "#", heading: "#", kind: "number", values: Array.from({ length: rows }, (_, i) => i + 1) };
    const all = [place, ...columns], filters = new Map();
    let order = Array.from({ length: rows }, (_, i) => i), by = null, falling = false, full = false;

    const width = (column) => {
      let longest = Math.min(column.heading.length + 2, 17);
      const step = Math.max(1, Math.floor(rows / 200));
      for (let row = 0; row < rows; row += step) longest = Math.max(longest, shown(column, row).length);
      return Math.min(Math.max(longest * 7.2 + 18, 56), 280);
    };
    box.querySelector("colgroup").innerHTML = all.map((column, i) => `<col class="${i > 8 ? "extra" : ""}" style="width:${Math.round(width(column))}px">`).join("");
    const names = document.createElement("tr");
    all.forEach((column, i) => {
      const th = document.createElement("th"), button = document.createElement("button"), input = document.createElement("input");
      if (i > 8) th.className = "extra";
      th.scope = "col";
      th.setAttribute("aria-sort", "none");
      button.type = "button";
      button.textContent = column.heading;
      button.title = `sort by ${column.heading}`;
      button.addEventListener("click", () => sort(column));
      input.setAttribute("aria-label", `filter ${column.heading}`);
      input.dataset.column = column.name;
      input.addEventListener("input", () => later(() => filter(column, input)));
      th.append(button, input);
      names.append(th);
    });
    head.append(names);

    let timer = 0;
    const later = (act) => {
      clearTimeout(timer);
      timer = setTimeout(act, 120);
    };

    const UNITS = { k: 1e3, M: 1e6, B: 1e9, G: 1e9, T: 1e12 };
    const parsed = (text) => {
      const match = /^([-+]?[\d.]+(?:e[-+]?\d+)?)\s*([kMBGT]?)$/i.exec(text.trim());
      return match ? Number(match[1]) * (UNITS[match[2]] || UNITS[match[2].toUpperCase()] || UNITS[match[2].toLowerCase()] || 1) : NaN;
    };
    // what a filter asks of a column; null: it cannot be read
    const test = (column, text) => {
      const range = /^(.+?)\.\.(.+)$/.exec(text), compare = /^(<=|>=|<|>|=)(.+)$/.exec(text);
      if (column.kind === "text") {
        const word = text.toLowerCase();
        return (row) => raw(column, row).toLowerCase().includes(word);
      }
      if (range) {
        const [low, high] = [parsed(range[1]), parsed(range[2])];
        return Number.isNaN(low + high) ? null : (row) => raw(column, row) !== null && raw(column, row) >= low && raw(column, row) <= high;
      }
      if (compare) {
        const bound = parsed(compare[2]);
        if (Number.isNaN(bound)) return null;
        const holds = { "<": (v) => v < bound, ">": (v) => v > bound, "<=": (v) => v <= bound, ">=": (v) => v >= bound, "=": (v) => Math.abs(v - bound) <= 1e-6 * Math.abs(bound) }[compare[1]];
        return (row) => raw(column, row) !== null && holds(raw(column, row));
      }
      return (row) => shown(column, row).toLowerCase().includes(text.toLowerCase());
    };
    const filter = (column, input) => {
      const text = input.value.trim(), asks = text ? test(column, text) : undefined;
      input.classList.toggle("wrong", asks === null);
      if (asks) filters.set(column.name, asks);
      else filters.delete(column.name);
      sift();
    };
    tools.search.addEventListener("input", () => later(() => {
      const word = tools.search.value.trim().toLowerCase(), texts = columns.filter((column) => column.kind === "text");
      const known = texts.map((column) => column.words.map((one) => one.toLowerCase().includes(word)));
      if (word) filters.set("", (row) => texts.some((column, i) => known[i][column.values[row]]));
      else filters.delete("");
      sift();
    }));
    document.getElementById("clear").addEventListener("click", () => {
      filters.clear();
      state.only = null;
      tools.search.value = "";
      head.querySelectorAll("input").forEach((input) => { input.value = ""; input.classList.remove("wrong"); });
      sift();
    });

    const sift = () => {
      const asked = [...filters.values()], only = state.only && new Set(state.only);
      order = [];
      for (let row = 0; row < rows; row++) if ((!only || only.has(row)) && asked.every((ask) => ask(row))) order.push(row);
      state.rows = order.length < rows ? new Set(order) : null;
      arrange();
      box.scrollTop = 0;
      changed("rows");
    };
    const sort = (column) => {
      [by, falling] = by === column ? (falling ? [null, false] : [column, true]) : [column, false];
      names.querySelectorAll("th").forEach((th, i) => {
        const mine = all[i] === by;
        th.setAttribute("aria-sort", mine ? (falling ? "descending" : "ascending") : "none");
        th.firstChild.dataset.order = mine ? (falling ? " ↓" : " ↑") : "";
      });
      arrange();
    };
    const arrange = () => {
      const collator = new Intl.Collator("en", { numeric: true });
      const sign = falling ? -1 : 1;
      const compare = by === null ? (a, b) => a - b : (a, b) => {
        const [x, y] = [raw(by, a), raw(by, b)];
        if (x === null || y === null) return x === y ? a - b : x === null ? 1 : -1; // what is unknown comes last
        return (by.kind === "text" ? collator.compare(x, y) : x - y) * sign || a - b;
      };
      order.sort(compare);
      const named = state.only && state.title ? ` drawn in “${state.title}”` : "";
      tools.shown.textContent = order.length < rows ? `${order.length.toLocaleString("en")} of ${rows.toLocaleString("en")} runs${named}` : `${rows.toLocaleString("en")} run${rows === 1 ? "" : "s"}`;
      render();
    };

    const pad = (count) => {
      const tr = document.createElement("tr"), td = document.createElement("td");
      tr.className = "pad";
      td.colSpan = all.length;
      td.style.height = `${count * ROW}px`;
      tr.append(td);
      return tr;
    };
    const render = () => {
      const room = Math.ceil((box.clientHeight || 480) / ROW);
      const begin = full ? 0 : Math.max(0, Math.min(Math.floor(box.scrollTop / ROW) - 8, order.length - room));
      const end = full ? Math.min(order.length, PRINTED) : Math.min(order.length, begin + room + 16);
      const lines = document.createDocumentFragment();
      if (begin) lines.append(pad(begin));
      for (let i = begin; i < end; i++) {
        const tr = document.createElement("tr");
        tr.dataset.row = order[i];
        all.forEach((column, k) => {
          const td = document.createElement("td"), text = shown(column, order[i]);
          td.textContent = text;
          if (column.kind !== "text") td.className = "number";
          else td.title = text;
          if (k > 8) td.classList.add("extra");
          tr.append(td);
        });
        lines.append(tr);
      }
      if (end < order.length && !full) lines.append(pad(order.length - end));
      body.replaceChildren(lines);
      mark();
    };
    const mark = () => {
      for (const tr of body.querySelectorAll("tr[data-row]")) {
        tr.classList.toggle("here", Number(tr.dataset.row) === state.here);
        tr.classList.toggle("kept", Number(tr.dataset.row) === state.kept);
      }
      const row = state.here ?? state.kept;
      tools.card.textContent = row === null ? "" : `${label(row)}: ${facts(row).join(" · ")}`;
    };
    watchers.push((what) => what !== "rows" && mark());
    let frame = 0;
    box.addEventListener("scroll", () => {
      cancelAnimationFrame(frame);
      frame = requestAnimationFrame(render);
    });
    const rowAt = (event) => {
      const tr = event.target.closest("tr[data-row]");
      return tr ? Number(tr.dataset.row) : null;
    };
    body.addEventListener("mouseover", (event) => point(rowAt(event)));
    body.addEventListener("mouseleave", () => point(null));
    body.addEventListener("click", (event) => rowAt(event) !== null && keep(rowAt(event), false));

    return {
      arrange,
      only: (chosen, title) => {
        [state.only, state.title] = [chosen, title];
        sift();
      },
      reveal: (row) => {
        const i = order.indexOf(row);
        if (i >= 0) box.scrollTop = Math.max(0, i * ROW - box.clientHeight / 2);
      },
      print: (on) => {
        full = on;
        render();
        const note = document.getElementById("printed");
        note.hidden = !on || order.length <= PRINTED;
        note.textContent = `${(order.length - PRINTED).toLocaleString("en")} more runs are in the page itself and in the table.`;
      },
    };
  })();

  for (const button of document.querySelectorAll("[data-rows-of]"))
    button.addEventListener("click", () => {
      const chart = charts.get(button.dataset.rowsOf);
      table.only(chart.rows, document.querySelector(`#${CSS.escape(chart.name)} h3`).textContent);
      document.getElementById("runs").scrollIntoView();
    });

  // ---- theme, contents, print --------------------------------------------------------------------------
  const button = document.getElementById("theme");
  const dress = (theme) => {
    document.documentElement.dataset.theme = theme;
    button.textContent = theme === "dark" ? "Light" : "Dark";
    readPalette();
    drawn().forEach(draw);
  };
  button.addEventListener("click", () => dress(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", (event) => dress(event.matches ? "dark" : "light"));

  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
  const reading = new IntersectionObserver(
    (entries) => {
      for (const entry of entries)
        if (entry.isIntersecting && links.has(entry.target.id)) {
          links.forEach((link) => link.classList.remove("here"));
          links.get(entry.target.id).classList.add("here");
        }
    },
    { rootMargin: "-10% 0px -80% 0px" },
  );
  document.querySelectorAll("main section[id], main figure[id]").forEach((one) => reading.observe(one));

  let before = null;
  addEventListener("beforeprint", () => {
    before = { theme: document.documentElement.dataset.theme, closed: [...document.querySelectorAll("details:not([open])")] };
    before.closed.forEach((one) => (one.open = true));
    printing = true;
    for (const chart of charts.values()) {
      element(chart).style.width = "660px";
      if (chart.gl && chart.drawn) forget(chart);
    }
    dress("light");
    for (const chart of charts.values()) if (!chart.drawn) draw(chart);
    table.print(true);
  });
  addEventListener("afterprint", () => {
    printing = false;
    charts.forEach((chart) => (element(chart).style.width = ""));
    before.closed.forEach((one) => (one.open = false));
    table.print(false);
    dress(before.theme);
  });

  dress(document.documentElement.dataset.theme);
  table.arrange();
  document.querySelectorAll("[data-chart]").forEach((place) => near.observe(place));
})();
