// The choice of a tenant, shared by screens.
import { html, useMemo } from "./html.js";
import { useApi } from "./use.js";

/** Names of the tenants: those with settings or a key, and the one without. */
export function useTenants(also = null) {
  const found = useApi("/admin/v1/tenants", { limit: 200 });
  return useMemo(() => {
    const names = new Set(["default", ...(found.data?.items ?? []).map(({ name }) => name)]);
    if (also) names.add(also);
    return [...names].sort((a, b) => a.localeCompare(b));
  }, [found.data, also]);
}

/** The tenant that a screen shows: `given`, else the one with most requests; null while that is asked. */
export function useTenant(given = null) {
  const usage = useApi(given ? null : "/v1/usage", { group_by: "tenant" });
  if (given) return given;
  if (usage.data === null && usage.error === null) return null;
  const groups = usage.data?.groups ?? [];
  const busiest = groups.reduce((most, one) => (one.requests > (most?.requests ?? 0) ? one : most), null);
  return busiest ? busiest.tenant.split("@")[0] : "default"; // callers inside a tenant share its settings
}

/** A choice of a tenant; `all` is the text of no choice, null if one must be chosen. */
export function TenantSelect({ value, onChange, label = "Tenant", all = "All tenants" }) {
  const names = useTenants(value || null);
  return html`<label>${label}
    <select value=${value ?? ""} onChange=${(event) => onChange(event.currentTarget.value || null)}>
      ${all !== null && html`<option value="" selected=${!value}>${all}</option>`}
      ${names.map((name) => html`<option key=${name} value=${name} selected=${name === value}>${name}</option>`)}
    </select></label>`;
}

/** A choice among `options`: `[[value, text], ...]`; "" is no choice. */
export function Choice({ label, value, options, onChange }) {
  return html`<label>${label}
    <select value=${value ?? ""} onChange=${(event) => onChange(event.currentTarget.value || null)}>
      ${options.map(([key, text]) => html`<option key=${key} value=${key} selected=${key === (value ?? "")}>${text}</option>`)}
    </select></label>`;
}

/** Whether a session may tune: change what answers are served, and start work. */
export function mayTune(session) {
  return session.role === "tune" || session.role === "all";
}
