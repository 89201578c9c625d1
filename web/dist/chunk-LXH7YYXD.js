import"/explorer/chunk-VLKQYVM6.js";import"/explorer/chunk-A3LXX7ZO.js";import"/explorer/chunk-DQ4HEGN2.js";
