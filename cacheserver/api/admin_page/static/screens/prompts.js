// Claude's prompt cache and model routing of one tenant.
import { html } from "../lib/html.js";
import { PromptCacheTab } from "../lib/prompt_cache.js";
import { ScreenHead, Skeleton, Tabs } from "../lib/parts.js";
import { setParams } from "../lib/router.js";
import { RoutingTab } from "../lib/routing.js";
import { TenantSelect, useTenant } from "../lib/tenants.js";

const TABS = [
  ["cache", "Prompt cache"],
  ["routing", "Routing"],
];

export default function Prompts({ session, params }) {
  const tab = params.tab === "routing" ? "routing" : "cache";
  const tenant = useTenant(params.tenant);
  if (tenant === null) return html`<${Skeleton} lines=${6} />`;
  return html`<${ScreenHead} title="Prompt cache and routing"
      lead="Where prompt tokens go, what keeps prompts apart, and which model answers what.">
      <div class="filters flat">
        <${TenantSelect} value=${tenant} all=${null} onChange=${(name) => setParams({ tenant: name })} />
      </div><//>
    <${Tabs} label="Views" tabs=${TABS} value=${tab} onChange=${(name) => setParams({ tab: name })} />
    ${tab === "cache"
      ? html`<${PromptCacheTab} key=${tenant} tenant=${tenant} params=${params} session=${session} />`
      : html`<${RoutingTab} key=${tenant} tenant=${tenant} session=${session} />`}`;
}
