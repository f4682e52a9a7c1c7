// Makes a form of every operation that the bus describes, and shows what it answers. Answers are text, never markup.

const made = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

const pretty = (text) => {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
};

// The path with what was typed into it, and the query of all other fields that were filled in.
const address = (path, parameters, values) => {
  const query = new URLSearchParams();
  for (const { name, in: place } of parameters) {
    const value = values.get(name) ?? "";
    if (place === "path") path = path.replace(`{${name}}`, encodeURIComponent(value));
    else if (value !== "") query.append(name, value);
  }
  return query.size ? `${path}?${query}` : path;
};

const field = ({ name, description, required }) =>
  made("label", {}, made("span", { textContent: required ? `${name} *` : name }),
    made("input", { name, required, autocomplete: "off" }), made("small", { textContent: description ?? "" }));

const operation = (path, method, described) => {
  const parameters = described.parameters ?? [];
  const body = described.requestBody?.content["application/json"];
  const form = made("form", {}, ...parameters.map(field));
  if (body) {
    const value = body.example ? JSON.stringify(body.example, null, 2) : "{}";
    form.append(made("label", {}, made("span", { textContent: "body *" }), made("textarea", { name: "$body", value })));
  }
  const status = made("p", { role: "status" });
  const answer = made("pre", { hidden: true });
  form.append(made("button", { textContent: "Send" }), status, answer);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const values = new FormData(form);
    const request = { method: method.toUpperCase() };
    if (body) Object.assign(request, { body: values.get("$body"), headers: { "content-type": "application/json" } });
    try {
      const response = await fetch(address(path, parameters, values), request);
      status.textContent = `${response.status} ${response.statusText}`;
      status.className = response.ok ? "good" : "bad";
      answer.textContent = pretty(await response.text());
    } catch (error) {
      status.textContent = `no answer: ${error.message}`;
      status.className = "bad";
      answer.textContent = "";
    }
    answer.hidden = false;
  });
  const name = made("summary", {}, made("span", { className: "method", textContent: method.toUpperCase() }),
    made("code", { textContent: path }), made("span", { textContent: described.summary }));
  return made("details", { id: described.operationId }, name, form);
};

const described = await (await fetch("/openapi.json")).json();
const routes = document.querySelector("#routes");
routes.replaceChildren();
for (const { name: tag } of described.tags) {
  if (tag === "sockets" || tag === "documents") continue;
  const section = made("section", {}, made("h2", { textContent: tag }));
  for (const [path, methods] of Object.entries(described.paths)) {
    for (const [method, one] of Object.entries(methods)) {
      if (one.tags.includes(tag)) section.append(operation(path, method, one));
    }
  }
  routes.append(section);
}
