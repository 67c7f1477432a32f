-- Who calls, read from the client's certificate after OpenSSL has verified its chain, dates and revocation.
--
-- ringfort_caller:  the SPIFFE identity, or "!" and a reason. Exactly one URI among the subject alternative names
--                   (SPIFFE X509-SVID, section 2), a path (SPIFFE-ID, 2.2), and no authority's certificate (X509-SVID, 4.1).
-- ringfort_at_home: whether the caller's address is among the certificate's IP addresses.
--
-- DER is read strictly (X.690): definite lengths, everything inside its parent. Any error refuses.

local SEQUENCE, BOOLEAN, OID, OCTETS, EXTENSIONS, URI, ADDRESS = 0x30, 0x01, 0x06, 0x04, 0xA3, 0x86, 0x87
local ALTERNATIVE_NAME, BASIC_CONSTRAINTS = "\x55\x1D\x11", "\x55\x1D\x13"  -- RFC 5280, 4.2.1.6 and 4.2.1.9

-- The element at pos, inside of stop: its tag, first and last place of its content, the place after it.
local function element(der, pos, stop)
  local tag, length = der:byte(pos, pos + 1)
  if tag == nil or length == nil or tag & 0x1F == 0x1F then error("short") end
  local first = pos + 2
  if length >= 0x80 then
    local count = length & 0x7F
    if count == 0 or count > 3 or first + count - 1 > stop then error("length") end
    length = 0
    for place = first, first + count - 1 do length = length << 8 | der:byte(place) end
    if length < 0x80 or length >> (8 * (count - 1)) == 0 then error("length") end
    first = first + count
  end
  local last = first + length - 1
  if last > stop then error("overrun") end
  return tag, first, last, last + 1
end

local function expect(wanted, der, pos, stop)
  local tag, first, last, after = element(der, pos, stop)
  if tag ~= wanted then error("tag") end
  return first, last, after
end

-- The places of the content of the list of extensions.
local function extensions(der)
  local first, last, after = expect(SEQUENCE, der, 1, #der)
  if after ~= #der + 1 then error("trailing") end
  local pos, stop = expect(SEQUENCE, der, first, last)
  while pos <= stop do
    local tag, inner, inner_last, after_it = element(der, pos, stop)
    if tag == EXTENSIONS then
      return expect(SEQUENCE, der, inner, inner_last)
    end
    pos = after_it
  end
  error("no extensions")
end

-- Content of the one extension with an object identifier, or nil. Twice is an error (RFC 5280, 4.2).
local function extension(der, wanted)
  local pos, stop = extensions(der)
  local found
  while pos <= stop do
    local first, last, after = expect(SEQUENCE, der, pos, stop)
    local oid, oid_last, value = expect(OID, der, first, last)
    if der:sub(oid, oid_last) == wanted then
      if found then error("twice") end
      if der:byte(value) == BOOLEAN then
        local _, _, _, after_flag = element(der, value, last)
        value = after_flag
      end
      local inner, inner_last, after_value = expect(OCTETS, der, value, last)
      if after_value ~= last + 1 then error("trailing") end
      found = der:sub(inner, inner_last)
    end
    pos = after
  end
  return found
end

local function is_authority(der)
  local value = extension(der, BASIC_CONSTRAINTS)
  if value == nil then return false end
  local first, last = expect(SEQUENCE, value, 1, #value)
  return first <= last and value:byte(first) == BOOLEAN and value:byte(first + 2) ~= 0
end

-- The URIs and the addresses (4 or 16 bytes) among the subject alternative names.
local function names(der)
  local value = extension(der, ALTERNATIVE_NAME)
  if value == nil then error("no names") end
  local pos, stop, after = expect(SEQUENCE, value, 1, #value)
  if after ~= #value + 1 then error("trailing") end
  local uris, addresses = {}, {}
  while pos <= stop do
    local tag, first, last, after_it = element(value, pos, stop)
    if tag == URI then uris[#uris + 1] = value:sub(first, last) end
    if tag == ADDRESS then addresses[#addresses + 1] = value:sub(first, last) end
    pos = after_it
  end
  return uris, addresses
end

local function caller(der)
  if der == nil or #der == 0 then return "!no-certificate" end
  local uris = names(der)
  if #uris ~= 1 or is_authority(der) then return "!certificate-names" end
  if not uris[1]:match("^spiffe://[a-z0-9._-]+/[A-Za-z0-9._/-]+$") then return "!certificate-names" end
  return uris[1]
end

local function in_words(address)
  if #address == 4 then return string.format("%d.%d.%d.%d", address:byte(1, 4)) end
  if #address ~= 16 then error("address") end
  local groups = {}
  for place = 1, 15, 2 do
    local high, low = address:byte(place, place + 1)
    groups[#groups + 1] = string.format("%x", high << 8 | low)
  end
  return table.concat(groups, ":")
end

local function at_home(der, source)
  local here = core.parse_addr(source)
  if here == nil then return false end
  local _, addresses = names(der)
  for _, address in ipairs(addresses) do
    if core.match_addr(here, core.parse_addr(in_words(address))) then return true end
  end
  return false
end

core.register_fetches("ringfort_caller", function(txn)
  local fine, found = pcall(caller, txn.f:ssl_c_der())
  return fine and found or "!certificate-names"
end)

core.register_fetches("ringfort_at_home", function(txn)
  local fine, found = pcall(at_home, txn.f:ssl_c_der(), txn.f:src())
  return fine and found and "yes" or "no"
end)
