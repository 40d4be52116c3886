---@meta rille.core.metrics

--- What a script counts of its own (src/bind/bind_metrics.c). Meters and samples are numbers.

---@class rille.core.metrics
local metrics = {}

--- A meter, new or the old one of that name.
---@param kind "counter"|"gauge"|"histogram"
---@param name string
---@param help string
---@param bounds number[]?  of a histogram's buckets, rising
---@return integer? meter  nil: there is one of another kind, or there are too many
---@return rille.Error? err
function metrics.declare(kind, name, help, bounds) end

--- The sample with these labels, new or old.
---@param meter integer
---@param names string[]
---@param values string[]  as many
---@return integer? sample  nil: there are too many
function metrics.sample(meter, names, values) end

--- So much more; a histogram observes it.
---@param meter integer
---@param sample integer
---@param n number
function metrics.add(meter, sample, n) end

--- What a gauge shows from now on.
---@param meter integer
---@param sample integer
---@param n number
function metrics.set(meter, sample, n) end

--- What there is so far on this worker.
---@param meter integer
---@param sample integer
---@return number value    of a histogram: the sum
---@return number? count   of a histogram: how often it observed
function metrics.value(meter, sample) end

return metrics
