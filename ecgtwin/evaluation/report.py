"""The figures of a model as a short text."""

from typing import Any


def summary(figures: dict[str, Any]) -> str:
    """The figures as a short text."""
    lines = []
    if r := figures.get("reconstruction"):
        lines += [
            f"auto-encoder, {r['n']} ECGs: correlation {r['correlation_median']:.4f} (median over leads), "
            f"RMS error {r['rms_uv_median']:.0f} uV (median), {r['rms_uv_overall']:.0f} uV (overall)",
            *(f"  {lead:3} {value:.4f}" for lead, value in r["correlation_by_lead"].items()),
        ]
    if h := figures.get("heart_rate"):
        lines.append(
            f"heart rate, {h['n']} references: mean absolute error {h['mean_absolute_error']:.1f}/min, "
            f"median {h['median_absolute_error']:.1f}/min, correlation {h['correlation']:.3f}, "
            f"{h['not_measurable']} not measurable"
        )
    if s := figures.get("speed"):
        lines.append(
            f"speed: {s['samples']} samples x {s['steps']} steps in {s['seconds']:.2f} s on {s['threads']} threads"
        )
    if who := figures.get("identity"):
        lines.append("identity (rank-1, equal error rate):")
        lines += [f"  {name:48} {row['rank1']:.3f}  {row['eer']:.3f}" for name, row in who.items()]
        first = next(iter(who.values()))
        lines.append(f"  ({first['queries']} ECGs of patients with several, gallery of {first['gallery']})")
    if truth := figures.get("counterfactuals"):
        columns = ("twin", "unchanged", "stranger", "ceiling", "change", "size", "error", "own")
        lines.append(
            f"exact counterfactuals of {truth['people']} simulated people, correlation of median beats with the truth:"
        )
        lines.append(" " * 56 + " ".join(f"{name:>9}" for name in columns))
        for name, row in (*truth["states"].items(), ("mean", truth["mean"])):
            lines.append(f"  {name:54}" + " ".join(f"{row[column]:9.3f}" for column in columns))
        if truth["left_out"]:
            lines.append(f"  not known to the model: {', '.join(truth['left_out'])}")
    if judged := figures.get("judgement"):
        lines.append(
            "twins of real references in sinus rhythm, as openecg reads their lead II; area of QRS in V1 (mV ms):"
        )
        lines.append(f"  {'asked for':28}{'read so':>9}{'real ECGs':>11}{'references':>12}{'V1':>8}{'V1, real':>10}")
        for name, row in judged.items():
            real = "" if row["real"] is None else f"{row['real']:.2f}"
            area = "" if row["real"] is None else f"{row['v1_area_real']:.0f}"
            lines.append(
                f"  {name:28}{row['read']:9.2f}{real:>11}{row['references']:12.2f}{row['v1_area']:8.0f}{area:>10}"
            )
    lines += [f"not measured: {name}: {why}" for name, why in figures["skipped"].items()]
    return "\n".join(lines)
