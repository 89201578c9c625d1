// The whole page: Atrium's bar above GraphiQL. What the parts do is in their own files.

import { GraphiQLProvider } from "@graphiql/react";
import { GraphiQL, GraphiQLInterface } from "graphiql";
import { useMemo, useState } from "react";
import type { Config } from "./config";
import { NoticeOfToken } from "./NoticeOfToken";
import type { Session } from "./session";
import { startersFor } from "./starters";
import { startersPlugin } from "./StartersPane";
import { explorerStorage, isFirstVisit } from "./storage";
import { TopBar } from "./TopBar";
import { makeFetcher } from "./transport";

interface Props {
  config: Config;
  session: Session;
}

export function Explorer({ config, session }: Props) {
  const [offered, setOffered] = useState<string | null>(null);
  const groups = useMemo(() => startersFor(config.host), [config.host]);
  const fetcher = useMemo(() => makeFetcher(session, setOffered), [session]);
  const starters = useMemo(() => startersPlugin(groups), [groups]);
  const plugins = useMemo(() => [starters], [starters]);
  const first = groups[0]?.starters[0];
  const [pane] = useState(() => (isFirstVisit() ? { visiblePlugin: starters } : {}));

  return (
    <GraphiQLProvider
      fetcher={fetcher}
      plugins={plugins}
      storage={explorerStorage}
      {...pane}
      defaultTabs={[{ query: first?.query ?? "" }]}
      shouldPersistHeaders={false}
    >
      <TopBar config={config} session={session} groups={groups} />
      {offered !== null && (
        <NoticeOfToken token={offered} session={session} onDone={() => setOffered(null)} />
      )}
      <main className="atrium-main">
        <GraphiQLInterface showPersistHeadersSettings={false} defaultEditorToolsVisibility="variables">
          {/* The name stands in the bar above, so GraphiQL's own place for it stays empty. */}
          <GraphiQL.Logo>{null}</GraphiQL.Logo>
        </GraphiQLInterface>
      </main>
    </GraphiQLProvider>
  );
}
