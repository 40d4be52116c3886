--- What a script counts of its own, told at `/metrics` beside what rille counts.
---
---     local orders = rille.metrics.counter("shop_orders_total", "Orders placed.", { "kind" })
---     local took = rille.metrics.histogram("shop_payment_seconds", "Until a payment is through.")
---
---     orders:inc { kind = "book" }
---     took:observe(0.25)
---
--- Names and types are Prometheus'. Every worker counts for itself; counters and histograms are
--- summed over them at `/metrics`, a gauge is shown for each, with the label `worker`. A metric
--- that is declared again, as a reload does, is the same one and keeps its numbers. One metric has
--- at most 1000 sets of label values: a label is for a few kinds of a thing, never for users.

local core = require("rille.core")
local errors = require("rille.errors")

local M = {}

--- Seconds: what Prometheus' own libraries begin with.
local BUCKETS = { 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10 }

---@class rille.metrics.Metric
---@field name string
---@field private meter integer
---@field private labels string[]
---@field private samples table<string, integer>  by the values of its labels

local function refuse(level, text, ...)
  error(errors.ConfigurationError(text:format(...)), level + 1)
end

--- The sample that `values` name. (Level 3 is who called the metric's method.)
local function sample_of(self, values)
  local labels = self.labels
  local list = {}
  for i, name in ipairs(labels) do
    local value = values and values[name]
    if value == nil then
      error(("%s: no value for the label %q"):format(self.name, name), 3)
    end
    list[i] = tostring(value)
  end
  local key = table.concat(list, "\0")
  local sample = self.samples[key]
  if sample then
    return sample
  end
  for name in pairs(values or {}) do
    if not labels[name] then
      local known = labels[1] and "it has " .. table.concat(labels, ", ") or "it has none"
      error(("%s: no label %q; %s"):format(self.name, tostring(name), known), 3)
    end
  end
  sample = core.metrics.sample(self.meter, labels, list)
  if not sample then
    error(("%s: more than 1000 sets of label values"):format(self.name), 3)
  end
  self.samples[key] = sample
  return sample
end

--- `(labels, n)`, or `(n)` where there are no labels.
local function arguments(self, labels, n)
  if type(labels) == "number" then
    labels, n = nil, labels
  end
  if n ~= nil and type(n) ~= "number" then
    error(("%s: a number expected, got a %s"):format(self.name, type(n)), 3)
  elseif labels ~= nil and type(labels) ~= "table" then
    error(("%s: a table of labels expected, got a %s"):format(self.name, type(labels)), 3)
  end
  return labels, n
end

---@class rille.metrics.Counter : rille.metrics.Metric
local Counter = {}
Counter.__index = Counter

--- Count `n` more, or one. Raises when it is less than 0, or a label is missing or unknown.
---@param labels table<string, any>|number|nil  a value for each label; or `n` when there are none
---@param n number?
function Counter:inc(labels, n)
  labels, n = arguments(self, labels, n)
  n = n or 1
  if n < 0 or n ~= n then
    error(("%s: a counter only rises, got %g"):format(self.name, n), 2)
  end
  core.metrics.add(self.meter, sample_of(self, labels), n)
end

---@class rille.metrics.Gauge : rille.metrics.Metric
local Gauge = {}
Gauge.__index = Gauge

--- What it shows from now on.
---@param labels table<string, any>|number|nil
---@param n number?
function Gauge:set(labels, n)
  labels, n = arguments(self, labels, n)
  if not n then
    error(("%s: set to which number?"):format(self.name), 2)
  end
  core.metrics.set(self.meter, sample_of(self, labels), n)
end

--- `n` more, or one.
---@param labels table<string, any>|number|nil
---@param n number?
function Gauge:inc(labels, n)
  labels, n = arguments(self, labels, n)
  core.metrics.add(self.meter, sample_of(self, labels), n or 1)
end

--- `n` less, or one.
---@param labels table<string, any>|number|nil
---@param n number?
function Gauge:dec(labels, n)
  labels, n = arguments(self, labels, n)
  core.metrics.add(self.meter, sample_of(self, labels), -(n or 1))
end

---@class rille.metrics.Histogram : rille.metrics.Metric
local Histogram = {}
Histogram.__index = Histogram

--- One more of this size.
---@param labels table<string, any>|number|nil
---@param n number?
function Histogram:observe(labels, n)
  labels, n = arguments(self, labels, n)
  if not n then
    error(("%s: which number was observed?"):format(self.name), 2)
  end
  core.metrics.add(self.meter, sample_of(self, labels), n)
end

--- What there is so far on this worker: the value; of a histogram the sum, and how often.
---@param labels table<string, any>?
---@return number value
---@return number? count
function Counter:value(labels)
  return core.metrics.value(self.meter, sample_of(self, labels))
end
Gauge.value, Histogram.value = Counter.value, Counter.value

--- Names as Prometheus takes them: https://prometheus.io/docs/concepts/data_model/
local function check_names(name, labels, reserved)
  if type(name) ~= "string" or not name:find("^[%a_:][%w_:]*$") then
    refuse(3, "a metric's name has letters, digits, _ and :, got %s", tostring(name))
  elseif name:find("^rille_") or name:find("^process_") then
    refuse(3, "%s: names that begin with rille_ or process_ are rille's own", name)
  end
  for i, label in ipairs(labels) do
    if type(label) ~= "string" or not label:find("^[%a_][%w_]*$") or label:find("^__") then
      refuse(3, "%s: a label has letters, digits and _, got %s", name, tostring(label))
    elseif label == reserved then
      refuse(3, "%s: the label %q is set by rille", name, label)
    end
    labels[label] = i
  end
end

local function check_buckets(name, buckets)
  for i, bound in ipairs(buckets) do
    if type(bound) ~= "number" or bound ~= bound or (i > 1 and bound <= buckets[i - 1]) then
      refuse(3, "%s: buckets are numbers that rise", name)
    end
  end
  if #buckets == 0 or #buckets > 64 then
    refuse(3, "%s: from 1 to 64 buckets, got %d", name, #buckets)
  end
end

local function declare(class, kind, name, help, labels, reserved, buckets)
  labels = { unpack(labels or {}) }
  check_names(name, labels, reserved)
  if type(help) ~= "string" then
    refuse(2, "%s: a sentence that says what it counts expected, got a %s", name, type(help))
  end
  if buckets then
    check_buckets(name, buckets)
  end
  local meter, err = core.metrics.declare(kind, name, help, buckets)
  if not meter then
    refuse(2, "%s", err.message)
  end
  local self = setmetatable({ name = name, meter = meter, labels = labels, samples = {} }, class)
  if #labels == 0 then
    sample_of(self) -- it is there from the start, with 0
  end
  return self
end

--- What only rises. By custom its name ends in `_total`.
---@param name string
---@param help string      what it counts, in a sentence
---@param labels string[]? their names
---@return rille.metrics.Counter
function M.counter(name, help, labels)
  return declare(Counter, "counter", name, help, labels)
end

--- What rises and falls.
---@param name string
---@param help string
---@param labels string[]?
---@return rille.metrics.Gauge
function M.gauge(name, help, labels)
  return declare(Gauge, "gauge", name, help, labels, "worker")
end

--- How often what sizes came; by custom in seconds or bytes, as its name ends.
---@param name string
---@param help string
---@param labels string[]?
---@param options { buckets: number[]? }?  their upper bounds, rising; default: 5 ms to 10 s
---@return rille.metrics.Histogram
function M.histogram(name, help, labels, options)
  local buckets = { unpack(options and options.buckets or BUCKETS) }
  return declare(Histogram, "histogram", name, help, labels, "le", buckets)
end

return M
