// form.js URL: a form as Node.js makes one of it (fetch, FormData, Blob). Prints "answer".
const url = process.argv[2];
const form = new FormData();
form.append("name", "Zoë");
form.append("name", "second");
form.append("empty", "");
form.append("lines", "a\r\nb\r\n");
form.append("file", new Blob(["\u0000abc\r\n--\r\n"], { type: "text/x-odd" }), 'quo"ted;.txt');
fetch(url, { method: "POST", body: form })
  .then(async (response) => {
    const body = await response.text();
    console.log(JSON.stringify({ event: "answer", status: response.status, body }));
  })
  .catch((error) => console.log(JSON.stringify({ event: "failed", why: String(error) })));
