// The API's document for people: Swagger UI over our own OpenAPI file, nothing from elsewhere.
const page = document.getElementById("docs");
window.SwaggerUIBundle({
  url: page.dataset.schema,
  domNode: page,
  docExpansion: "none",
  tagsSorter: "alpha",
  validatorUrl: null,
  // Calls go out with the session's cookie; a write needs its CSRF token, which this page does not hold: read, copy, run.
  supportedSubmitMethods: ["get"],
});

// Swagger UI gives its fields of parameters no name of their own.
const named = ".parameters :is(select, input):not([aria-label])";
new MutationObserver(() => {
  for (const field of document.querySelectorAll(named)) {
    const name = field.closest("[data-param-name]")?.dataset.paramName;
    if (name) field.setAttribute("aria-label", name);
  }
}).observe(document.body, { childList: true, subtree: true });
