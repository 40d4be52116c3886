// fetch_stream.js URL HEADERS: Node's fetch, reading a response as it comes.
//
// Prints a "part" for each text that ends in an empty line, then "end" and whether it ended whole.
const print = (event, rest) => console.log(JSON.stringify({ event, ...rest }));

(async () => {
  const answer = await fetch(process.argv[2], { headers: JSON.parse(process.argv[3]) });
  let text = "";
  try {
    for await (const piece of answer.body.pipeThrough(new TextDecoderStream())) {
      const parts = (text + piece).split("\n\n");
      text = parts.pop();
      parts.forEach((part) => print("part", { text: part }));
    }
    print("end", { whole: true });
  } catch (error) {
    print("end", { whole: false, message: String(error) });
  }
})();
