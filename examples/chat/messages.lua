--- What was said, in the order of its id.
local models = require("rille.models")

return models.define("chat_message", {
  id = models.auto(),
  room = models.text { index = true },
  ref = models.text { unique = true }, -- chosen by the sender; said twice is said once
  name = models.text(),
  text = models.text(),
  sent_at = models.bigint { default = os.time }, -- seconds since 1970
})
