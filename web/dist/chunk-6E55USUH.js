import{a}from"/explorer/chunk-A3LXX7ZO.js";import"/explorer/chunk-DQ4HEGN2.js";export default a();
