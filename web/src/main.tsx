// The page's entry: reads its configuration and mounts the explorer.

import { createRoot } from "react-dom/client";
import { readConfig } from "./config";
import { Explorer } from "./Explorer";
import { Session } from "./session";
import "./fonts.css";
import "graphiql/style.css";
import "./theme.css";
import "./parts.css";

const config = readConfig();
const session = new Session(config.endpoint);
const place = config.tenantSlug ?? "central";
document.title = `${place} · Atrium explorer`;

const root = document.getElementById("explorer");
if (root !== null) createRoot(root).render(<Explorer config={config} session={session} />);
