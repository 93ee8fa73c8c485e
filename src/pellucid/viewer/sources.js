// Sources: what each text of the input gave to the sentence that is explained, and what its sentences gave to one another.

function sourcesOf(scene) {
  const { view, v, state } = scene, { units, scores, drops } = view.sources;
  const own = units.map((unit, k) => ({ ...unit, score: scores[state.target][k], drop: drops[state.target]?.[k] })), of = (name, kind) => together(name, own.filter(kind));
  const rest = [of("the answer itself", (u) => !u.cited && u.segment >= 0), of("template", (u) => u.segment < 0), { name: "residual", score: v.sum.terms[2].value }];
  const write = (u) => [signed(u.score, v.places), small(` ${percent(u.score / changeOf(v))}`, Number.isFinite(u.drop) && ` · drop ${signed(u.drop, v.places)}`)];
  const matrix = heatmap(scene, { name: "Sentences by sources", rows: sentencesOf(view), columns: units, value: (r, c) => scores[r][c], ends: view.explanations.map((e) => e.sum.terms[2].written) });
  return section("Sources", par("", bdi(v.target.name)), par("muted", view.sources.told), mostOf(own.filter((u) => u.cited), rest, write, scene.links), matrix);
}

const sentencesOf = (view) => view.explanations.map((e, i) => `${i + 1}. ${e.target.name}`);
const together = (name, units) => ({ name, score: sum(units.map((u) => u.score)), tokens: units.flatMap((u) => u.tokens) });

/** Bars of the strongest units, of all others together, and of those that are always shown. */
function mostOf(units, always, write, links) {
  const order = ranked(units), others = order.splice(12);
  return barsOf([...order, ...(others.length ? [together(`${others.length} more`, others)] : []), ...always], write, links);
}

/** Sentences × sentences, and the product of the shares along them for the sentence that is explained (hops.py). */
function hopsOf(scene) {
  const { view, v, state } = scene, { rows, prompt, tokens } = view.hops, at = state.target, { arrived, composed } = composition(view.hops, at);
  const units = view.hops.columns.map((name, k) => ({ k, name, tokens: tokens[k], score: composed[k] })), written = (x) => signed(x, v.places);
  const matrix = heatmap(scene, { name: "Sentences by sentences", rows: sentencesOf(view), columns: units, value: (r, c) => (c > prompt + r ? null : rows[r].scores[c]), ends: rows.map((row) => written(row.delta)) });
  const leftOver = (j) => j >= 0 && ` · left over of ${written(arrived[j])} that arrived${rows[j].passes ? "" : ": it cancels, and passes on nothing"}`;
  const write = ({ score, k }) => [written(score), k >= 0 && small(` direct ${written(rows[at].scores[k])}`, leftOver(k - prompt))];
  return section("Hops", matrix, par("", `Through the hops: ${at + 1}. `, bdi(v.target.name)), par("muted", view.hops.told), mostOf(units.slice(0, prompt), units.slice(prompt, prompt + at + 1), write, scene.links));
}

function composition({ rows, prompt }, at) {
  const arrived = rows.map((row, j) => (j === at ? row.change : 0)), composed = rows[at].scores.map(() => 0);
  for (let j = at; j >= 0; j--) {
    const given = rows[j].scores.slice(0, prompt + j).map((x) => (rows[j].passes ? (arrived[j] * x) / rows[j].change : 0));
    given.forEach((x, k) => (k < prompt ? (composed[k] += x) : (arrived[k - prompt] += x)));
    composed[prompt + j] = arrived[j] - sum(given);
  }
  return { arrived, composed };
}
