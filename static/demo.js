// The demo client: a public client (OAuth 2.1 §2.1) that shows what it asks and what it is told.
// Enters: the data attributes of the page, and an authorization response in the address bar. Leaves: the steps, filled in.
// Tokens live in this script's memory; only the verifier and the state are stored, while the person is away to sign in.

const client = document.getElementById("demo").dataset;
const KEPT = "ostiary demo";
const flow = {}; // what the client has learned so far: code, verifier, first and second pair

// ---- the steps ---------------------------------------------------------------------------------------------------------
// Each has the words of its button, the request it sends, the status it expects, and what it makes of the answer.

const signIn = { id: "sign-in", action: "Sign in with Ostiary" };
const steps = [
  signIn,
  {
    id: "exchange",
    action: "Exchange the code",
    request: () =>
      form(client.tokenEndpoint, {
        grant_type: "authorization_code",
        code: flow.code,
        redirect_uri: client.redirectUri,
        code_verifier: flow.verifier,
        client_id: client.clientId,
      }),
    expects: 200,
    tell(pair) {
      flow.first = pair;
      return `An access token for ${inWords(pair.expires_in)}, and a refresh token for what comes after.`;
    },
  },
  {
    id: "resource",
    action: "Call /api/me",
    request: () => bearer(client.resource, flow.first.access_token),
    expects: 200,
    tell: (person) => `The resource knows on whose behalf this page asks: ${person.email ?? person.sub}.`,
  },
  {
    id: "refresh",
    action: "Refresh",
    request: () => refresh(flow.first.refresh_token),
    expects: 200,
    tell(pair) {
      flow.second = pair;
      return "A new pair. The tokens of step 2 are replaced.";
    },
  },
  {
    id: "repeat",
    action: "Refresh again with the old token",
    request: () => refresh(flow.first.refresh_token),
    expects: 200,
    tell(pair) {
      const isSame = pair.access_token === flow.second.access_token && pair.refresh_token === flow.second.refresh_token;
      flow.second = pair;
      return isSame ? "The same pair as in step 4: nothing was lost." : "Another pair: the one of step 4 has expired.";
    },
  },
  {
    id: "revocation",
    action: "Revoke",
    request: () => form(client.revocationEndpoint, { token: flow.second.refresh_token, client_id: client.clientId }),
    expects: 200,
    tell: () => "Revoked. This page is signed out; you still are signed in at the server.",
  },
  {
    id: "resource-again",
    action: "Call /api/me once more",
    request: () => bearer(client.resource, flow.second.access_token),
    expects: 401,
    tell: () => "Refused, as it should be. That was the whole way.",
  },
];

// ---- there and back (RFC 6749 §4.1.1, §4.1.2) ----------------------------------------------------------------------------

async function leave() {
  const kept = { state: randomText(), verifier: randomText() };
  const url = await authorizationUrl(kept);
  sessionStorage.setItem(KEPT, JSON.stringify(kept));
  location.assign(url);
}

async function authorizationUrl({ state, verifier }) {
  const parameters = {
    response_type: "code",
    client_id: client.clientId,
    redirect_uri: client.redirectUri,
    scope: client.scope,
    state,
    code_challenge: await s256(verifier),
    code_challenge_method: "S256",
  };
  return `${client.authorizationEndpoint}?${new URLSearchParams(parameters)}`;
}

async function comeBack(answer) {
  const kept = JSON.parse(sessionStorage.getItem(KEPT));
  sessionStorage.removeItem(KEPT);
  const received = location.href;
  history.replaceState(null, "", location.pathname); // a code does not belong in the history
  if (kept === null || answer.get("state") !== kept.state) {
    return fail(signIn, "This answer belongs to no request of this tab: its state is another one. Nothing was done with it.");
  }
  showExchange(signIn, `GET ${inLines(await authorizationUrl(kept))}`, `303 See Other\nLocation: ${inLines(received)}`);
  if (answer.get("iss") !== client.issuer) {
    return fail(signIn, "This answer is from another server: iss is not the issuer (RFC 9207 §2.4).");
  }
  if (!answer.has("code")) {
    return fail(signIn, whyNot(answer.get("error")));
  }
  flow.code = answer.get("code");
  flow.verifier = kept.verifier;
  succeed(signIn, "Back with a code. Its state is the one that was sent, and iss names this server.");
}

function whyNot(error) {
  const words = {
    access_denied: "You said no, so this page gets nothing. An application is told so in these words (RFC 6749 §4.1.2.1).",
    temporarily_unavailable: "The server is busy at the moment.",
  };
  return words[error] ?? `The server refused: ${error}.`;
}

// ---- going on, step by step ----------------------------------------------------------------------------------------------

let isBusy = false;

async function runUpTo(last, step) {
  if (isBusy) return;
  isBusy = true;
  const first = step;
  while (step !== undefined && (await run(step)) && step !== last) step = following(step);
  isBusy = false;
  if (last === undefined && step === undefined) heading(first).focus(); // all went well: read on from where it began
}

async function run(step) {
  const request = step.request();
  let answer;
  try {
    answer = await send(request);
  } catch {
    fail(step, "The server did not answer. Is it still running?");
    return false;
  }
  showExchange(step, requestText(request), answer.text);
  if (answer.status !== step.expects) {
    fail(step, refusal(answer));
    return false;
  }
  succeed(step, step.tell(answer.json));
  return true;
}

function refusal({ status, json, retryAfter }) {
  const wait = retryAfter ? ` Wait for ${inWords(Number(retryAfter))}.` : "";
  return `The server refused, with status ${status}: ${json?.error_description ?? json?.error ?? "no reason given"}.${wait}`;
}

function following(step) {
  return steps[steps.indexOf(step) + 1];
}

// ---- requests ------------------------------------------------------------------------------------------------------------

function form(url, members) {
  return { method: "POST", url, headers: {}, body: new URLSearchParams(members) };
}

function bearer(url, token) {
  return { method: "GET", url, headers: { Authorization: `Bearer ${token}` } };
}

function refresh(refresh_token) {
  return form(client.tokenEndpoint, { grant_type: "refresh_token", refresh_token, client_id: client.clientId });
}

async function send({ method, url, headers, body }) {
  const response = await fetch(url, { method, headers, body, credentials: "omit", cache: "no-store" });
  const content = await response.text();
  const json = parse(content);
  const challenge = response.headers.get("WWW-Authenticate");
  const head = [`${response.status} ${response.statusText}`, challenge && `WWW-Authenticate: ${challenge}`];
  return {
    status: response.status,
    retryAfter: response.headers.get("Retry-After"),
    json,
    text: `${head.filter(Boolean).join("\n")}\n\n${json ? JSON.stringify(json, null, 2) : content}`,
  };
}

function parse(content) {
  try {
    return JSON.parse(content);
  } catch {
    return null;
  }
}

// ---- what is shown -------------------------------------------------------------------------------------------------------

const status = document.getElementById("status");
const controls = Object.assign(document.createElement("div"), { className: "actions two" });

function item(step) {
  return document.getElementById(step.id);
}

function heading(step) {
  return item(step).querySelector("h2");
}

function showExchange(step, request, answer) {
  const shown = document.getElementById("exchange-shown").content.cloneNode(true);
  const [first, second] = shown.querySelectorAll("pre");
  first.textContent = request;
  second.textContent = answer;
  item(step).append(shown);
}

function succeed(step, words) {
  conclude(step, "done", words);
  const next = following(step);
  if (next === undefined) {
    offer(step, ["Start again", leave]);
  } else {
    const toTheEnd = ["Run all the rest", () => runUpTo(undefined, next)];
    offer(next, [next.action, () => runUpTo(next, next)], following(next) && toTheEnd);
  }
  controls.firstChild.focus();
}

function fail(step, words) {
  conclude(step, "failed", words);
  offer(step, ["Start again", leave]);
  controls.firstChild.focus();
}

function conclude(step, className, words) {
  const outcome = Object.assign(document.createElement("p"), { className: "outcome", textContent: words });
  item(step).querySelector("p").after(outcome);
  item(step).className = className;
  status.textContent = `${heading(step).textContent}: ${words}`;
}

function offer(step, ...choices) {
  document.querySelector("[aria-current]")?.removeAttribute("aria-current");
  item(step).setAttribute("aria-current", "step");
  controls.replaceChildren(...choices.filter(Boolean).map(button));
  controls.firstChild.className = "primary";
  item(step).append(controls);
}

function button([words, press]) {
  const made = Object.assign(document.createElement("button"), { type: "button", textContent: words });
  made.addEventListener("click", press);
  return made;
}

function requestText({ method, url, headers, body }) {
  const head = Object.entries(headers).map(([name, value]) => `\n${name}: ${value}`);
  const form = body ? `\nContent-Type: application/x-www-form-urlencoded\n\n${inLines(body)}` : "";
  return `${method} ${url}${head.join("")}${form}`;
}

function inLines(parameters) {
  return String(parameters).replaceAll(/[?&]/g, "\n$&");
}

function inWords(seconds) {
  return seconds >= 120 ? `${Math.round(seconds / 60)} minutes` : `${seconds} seconds`;
}

// ---- PKCE (RFC 7636 §4.1, §4.2) --------------------------------------------------------------------------------------------

function randomText() {
  return base64url(crypto.getRandomValues(new Uint8Array(32)));
}

async function s256(verifier) {
  return base64url(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier))));
}

function base64url(octets) {
  return btoa(String.fromCharCode(...octets)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

// ---- start ---------------------------------------------------------------------------------------------------------------

const answer = new URLSearchParams(location.search);
if (answer.has("state") || answer.has("code") || answer.has("error")) await comeBack(answer);
else offer(signIn, [signIn.action, leave]);
